"""`/api/plugins/eavs/mine`: what every account may see of its own money, and the keys of its own programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from oqto_platform.errors import Forbidden
from oqto_platform.types import Identity

from . import control
from .ledger_routes import FOREVER, Ask, By, NewKey, Since, key_request
from .reports import to_csv

if TYPE_CHECKING:
    from oqto_platform.types import Context

SHARED = ("group", "platform")


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """The wallets of an account and what it was told of late. Wallets that others share are for admins only."""

    wallets: list[control.WalletView]
    alerts: list[control.Alert]
    may_make_keys: bool


def account_handlers(context: Context, ask: Ask) -> Sequence[Any]:
    """What everybody may see and do about their own account."""
    return [*_budget_handlers(context, ask), *_key_handlers(context, ask)]


def _budget_handlers(context: Context, ask: Ask) -> Sequence[Any]:
    @get("/mine/budget")
    async def budget(identity: NamedDependency[Identity], session: str = "") -> Budget:
        mine = str(identity.account_id)
        wallets = (await ask(control.ListWallets(account_id=mine, session_id=session))).wallets
        alerts = (await ask(control.Alerts(account_id=mine, most=50))).alerts
        return Budget(
            wallets=[wallet for wallet in wallets if identity.is_admin or wallet.kind not in SHARED],
            alerts=[alert for alert in alerts if identity.is_admin or alert.kind not in SHARED],
            may_make_keys=context.settings().allow_account_keys,
        )

    @get("/mine/usage")
    async def usage(
        identity: NamedDependency[Identity], by: By = "day", since: Since = 0.0, until: Since = FOREVER
    ) -> list[control.Row]:
        report = control.Report(by=by, account_id=str(identity.account_id), since=since, until=until)
        return list((await ask(report)).rows)

    @get("/mine/usage.csv")
    async def usage_csv(
        identity: NamedDependency[Identity], by: By = "day", since: Since = 0.0, until: Since = FOREVER
    ) -> Response[str]:
        report = control.Report(by=by, account_id=str(identity.account_id), since=since, until=until)
        return Response(to_csv(by, (await ask(report)).rows), media_type="text/csv")

    return [budget, usage, usage_csv]


def _key_handlers(context: Context, ask: Ask) -> Sequence[Any]:
    @get("/mine/keys")
    async def list_keys(identity: NamedDependency[Identity]) -> list[control.KeyView]:
        return list((await ask(control.ListKeys(account_id=str(identity.account_id)))).keys)

    @post("/mine/keys")
    async def create_key(data: JSONBody[NewKey], identity: NamedDependency[Identity]) -> control.CreatedReply:
        if not context.settings().allow_account_keys:
            raise Forbidden("keys are made by admins here; one can set [eavs] allow_account_keys")
        own = f"account:{identity.account_id}"
        is_mine = data.owner.startswith(f"workspace:{identity.account_id}:")
        created: control.CreatedReply = await ask(key_request(data, data.owner if is_mine else own))
        context.audit(
            "key_created", key=created.key.id, owner=created.key.owner, name=data.name, by=identity.name
        )
        return created

    @delete("/mine/keys/{key_id:str}")
    async def revoke_key(key_id: str, identity: NamedDependency[Identity]) -> None:
        await ask(control.Revoke(key_id=key_id, account_id=str(identity.account_id)))
        context.audit("key_revoked", key=key_id, by=identity.name)

    return [list_keys, create_key, revoke_key]
