"""`/api/plugins/eavs`, for admins: keys, wallets, limits, groups, usage, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import JSONBody, Parameter

from oqto_platform.errors import Invalid

from . import control
from .config import MOST_USD
from .keys import Grants
from .rates import Rates
from .reports import to_csv
from .wallets import Window

if TYPE_CHECKING:
    from oqto_platform.types import Context

Ask = Callable[[control.Request], Awaitable[Any]]
ADMIN = {"admin": True}
By = Literal["session", "workspace", "account", "key", "model", "provider", "day"]
Since = Annotated[float, Parameter(ge=0)]
FOREVER = 1e12
LAST_S = 253_402_300_799
"""The end of the year 9999, after which no calendar goes on."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class NewLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a wallet may spend; `null` takes the limit away. `rates` left out: as they are."""

    limit_usd: float | None
    window: Window = "total"
    rates: Rates | None = None


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    A key for `owner`: `platform`, `group:NAME`, `account:ID` or `workspace:ACCOUNT:PATH`.

    `expires_at` is seconds since the epoch; `limit_usd` is a budget of its own inside the owner's.
    """

    owner: str
    name: str = ""
    expires_at: Annotated[float, msgspec.Meta(le=LAST_S)] | None = None
    limit_usd: float | None = None
    window: Window = "total"
    grants: Grants = Grants()


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how many seconds the old secret still works."""

    grace_s: Annotated[float, msgspec.Meta(ge=0, le=30 * 86_400)] = 0.0


class Members(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The accounts of a group, all of them, by id or name."""

    accounts: list[str]


def ledger_handlers(context: Context, ask: Ask) -> Sequence[Any]:
    """What admins may see and change."""
    return [*_key_handlers(context, ask), *_wallet_handlers(context, ask), *_report_handlers(ask)]


def _key_handlers(context: Context, ask: Ask) -> Sequence[Any]:
    @get("/keys", opt=ADMIN)
    async def list_keys(account: str = "") -> list[control.KeyView]:
        return list((await ask(control.ListKeys(account_id=account))).keys)

    @post("/keys", opt=ADMIN)
    async def create_key(data: JSONBody[NewKey]) -> control.CreatedReply:
        created: control.CreatedReply = await ask(key_request(data, data.owner))
        context.audit("key_created", key=created.key.id, owner=data.owner, name=data.name)
        return created

    @post("/keys/{key_id:str}/rotate", opt=ADMIN)
    async def rotate_key(key_id: str, data: JSONBody[Rotation]) -> control.CreatedReply:
        created: control.CreatedReply = await ask(control.RotateKey(key_id=key_id, grace_s=data.grace_s))
        context.audit("key_rotated", key=key_id, successor=created.key.id)
        return created

    @delete("/keys/{key_id:str}", opt=ADMIN)
    async def revoke_key(key_id: str) -> None:
        await ask(control.Revoke(key_id=key_id))
        context.audit("key_revoked", key=key_id)

    return [list_keys, create_key, rotate_key, revoke_key]


def _wallet_handlers(context: Context, ask: Ask) -> Sequence[Any]:
    @get("/wallets", opt=ADMIN)
    async def list_wallets(account: str = "") -> list[control.WalletView]:
        return list((await ask(control.ListWallets(account_id=account))).wallets)

    @put("/limits/{wallet:path}", opt=ADMIN)
    async def set_limit(wallet: str, data: JSONBody[NewLimit]) -> None:
        name, limit = wallet.removeprefix("/"), nusd(data.limit_usd)
        rates = data.rates.checked() if data.rates else None
        await ask(control.Limit(wallet=name, limit_nusd=limit, window=data.window, rates=rates))
        facts = {"rates": msgspec.to_builtins(data.rates)} if data.rates else {}
        context.audit("limit_set", wallet=name, limit_usd=data.limit_usd, window=data.window, **facts)

    @put("/groups/{name:str}", opt=ADMIN)
    async def set_group(name: str, data: JSONBody[Members]) -> list[control.WalletView]:
        reply = await ask(control.SetGroup(name=name, accounts=tuple(data.accounts)))
        context.audit("group_set", group=name, accounts=data.accounts)
        return list(reply.wallets)

    @get("/alerts", opt=ADMIN)
    async def alerts(account: str = "") -> list[control.Alert]:
        return list((await ask(control.Alerts(account_id=account))).alerts)

    return [list_wallets, set_limit, set_group, alerts]


def _report_handlers(ask: Ask) -> Sequence[Any]:
    @get("/status", opt=ADMIN)
    async def status() -> control.HealthReply:
        return await ask(control.HealthCheck())  # type: ignore[no-any-return]

    @get("/metrics", opt=ADMIN)
    async def metrics() -> Response[str]:
        return Response((await ask(control.ReadMetrics())).text, media_type=METRICS_TYPE)

    @get("/usage", opt=ADMIN)
    async def usage(
        by: By = "day", account: str = "", since: Since = 0.0, until: Since = FOREVER
    ) -> list[control.Row]:
        return list((await ask(control.Report(by=by, account_id=account, since=since, until=until))).rows)

    @get("/usage.csv", opt=ADMIN)
    async def usage_csv(
        by: By = "day", account: str = "", since: Since = 0.0, until: Since = FOREVER
    ) -> Response[str]:
        rows = (await ask(control.Report(by=by, account_id=account, since=since, until=until))).rows
        return Response(to_csv(by, rows), media_type="text/csv")

    return [status, metrics, usage, usage_csv]


def key_request(data: NewKey, owner: str) -> control.CreateKey:
    """What the proxy is asked for a new key of `owner`."""
    data.grants.rates.checked()
    return control.CreateKey(
        owner=owner,
        name=data.name,
        expires_at=data.expires_at,
        grants=data.grants,
        limit_nusd=nusd(data.limit_usd),
        window=data.window,
    )


def nusd(usd: float | None) -> int | None:
    """Nano-dollars; raises `Invalid` for what is no amount."""
    if usd is None:
        return None
    if not 0 <= usd <= MOST_USD:
        text = f"limit_usd: {usd:g} is no limit; use 0 to {MOST_USD:.0f}, or null for none"
        raise Invalid(text, field="limit_usd")
    return round(usd * 1e9)
