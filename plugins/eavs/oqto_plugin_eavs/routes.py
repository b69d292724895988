"""`/api/plugins/eavs`: providers for everyone to see, changes and reports for admins."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import JSONBody, Parameter

from oqto_platform.errors import Conflict, Invalid

from . import control
from .providers import KINDS, Provider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from oqto_platform.types import Context

ADMIN = {"admin": True}
ELSEWHERE = ("env:", "file:")
By = Literal["session", "account", "model", "provider", "day"]


class NewProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider to add. An empty `models` takes what it offers and has a price.

    `allow_unpriced` takes models without a known price, too, and bills them at nothing: a server of one's own.
    """

    name: str
    kind: str
    base_url: str = ""
    api_key: str = ""
    title: str = ""
    models: list[str] = []
    allow_unpriced: bool = False


class NewLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a wallet may spend; `null` takes the limit away."""

    limit_usd: float | None
    window: Literal["total", "day", "week", "month"] = "total"


def handlers(context: Context) -> Sequence[Any]:
    """The handlers, bound to the proxy of `context`."""
    return [*_provider_handlers(context), *_ledger_handlers(context)]


def _asker(context: Context) -> Callable[[control.Request], Awaitable[Any]]:
    async def ask(request: control.Request) -> Any:
        if not context.settings().enabled:
            raise Conflict("the LLM proxy is off; set [eavs] enabled = true and restart")
        return await control.ask(str(context.state_dir / "control.sock"), request)

    return ask


def _provider_handlers(context: Context) -> Sequence[Any]:
    ask = _asker(context)

    @get("/providers")
    async def list_providers() -> list[control.ProviderView]:
        return list((await ask(control.ListProviders())).providers)

    @post("/providers", opt=ADMIN)
    async def add_provider(data: JSONBody[NewProvider]) -> control.ProviderView:
        provider = _checked(data)
        (added,) = (await ask(control.SetProvider(provider=provider))).providers
        context.audit("provider_set", name=data.name, kind=data.kind)
        return added  # type: ignore[no-any-return]

    @delete("/providers/{name:str}", opt=ADMIN)
    async def delete_provider(name: str) -> None:
        await ask(control.DropProvider(name=name))
        context.audit("provider_deleted", name=name)

    return [list_providers, add_provider, delete_provider]


def _ledger_handlers(context: Context) -> Sequence[Any]:
    ask = _asker(context)

    @get("/status", opt=ADMIN)
    async def status() -> control.HealthReply:
        return await ask(control.HealthCheck())  # type: ignore[no-any-return]

    @get("/keys", opt=ADMIN)
    async def list_keys() -> list[control.KeyView]:
        return list((await ask(control.ListKeys())).keys)

    @delete("/keys/{key_id:str}", opt=ADMIN)
    async def revoke_key(key_id: str) -> None:
        await ask(control.Revoke(key_id=key_id))
        context.audit("key_revoked", key=key_id)

    @get("/usage", opt=ADMIN)
    async def usage(by: By = "day", account: str = "", since: float = 0.0) -> list[control.Row]:
        return list((await ask(control.Report(by=by, account_id=account, since=since))).rows)

    @get("/usage.csv", opt=ADMIN)
    async def usage_csv(
        by: By = "day", account: str = "", since: Annotated[float, Parameter(ge=0)] = 0.0
    ) -> Response[str]:
        rows = (await ask(control.Report(by=by, account_id=account, since=since))).rows
        return Response(_csv(by, rows), media_type="text/csv")

    @put("/limits/{wallet:str}", opt=ADMIN)
    async def set_limit(wallet: str, data: JSONBody[NewLimit]) -> None:
        limit = None if data.limit_usd is None else round(data.limit_usd * 1e9)
        await ask(control.Limit(wallet=wallet, limit_nusd=limit, window=data.window))
        context.audit("limit_set", wallet=wallet, limit_usd=data.limit_usd, window=data.window)

    return [status, list_keys, revoke_key, usage, usage_csv, set_limit]


def _checked(data: NewProvider) -> Provider:
    if data.api_key.startswith(ELSEWHERE):
        raise Invalid(
            "api_key: paste the key itself; env: and file: are for the configuration file", field="api_key"
        )
    if (
        data.kind in KINDS
        and KINDS[data.kind].auth != "none"
        and not data.api_key
        and data.kind != "openai-compatible"
    ):
        raise Invalid(f"api_key: {KINDS[data.kind].title} needs one", field="api_key")
    return Provider(
        name=data.name,
        kind=data.kind,
        base_url=data.base_url.strip(),
        api_key=data.api_key.strip(),
        title=data.title,
        models=tuple(data.models),
        allow_unpriced=data.allow_unpriced,
    ).checked()


def _csv(by: str, rows: list[control.Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([by, "calls", "cost_usd", "input", "cache_read", "cache_write", "output", "estimated"])
    for row in rows:
        usd = f"{row.cost_nusd / 1e9:.9f}"
        writer.writerow(
            [row.name, row.calls, usd, row.input, row.cache_read, row.cache_write, row.output, row.estimated]
        )
    return out.getvalue()
