"""`/api/plugins/eavs`: providers for everyone to see, changes and reports for admins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from oqto_platform.errors import Conflict, Invalid
from oqto_platform.types import Identity

from . import control, elsewhere
from .account_routes import account_handlers
from .ledger_routes import ADMIN, ledger_handlers
from .providers import KINDS, ModelCost, Provider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oqto_platform.types import Context

    from .ledger_routes import Ask

ELSEWHERE = ("env:", "file:")


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
    aliases: dict[str, str] = {}
    prices: dict[str, ModelCost] = {}
    allow_models: list[str] = []
    deny_models: list[str] = []
    fallback: list[str] = []
    allow_unpriced: bool = False
    stream_options: bool = True


def handlers(context: Context) -> Sequence[Any]:
    """The handlers, bound to the proxy of `context`."""
    ask = asker(context)
    return [
        *_provider_handlers(context, ask),
        *ledger_handlers(context, ask),
        *account_handlers(context, ask),
    ]


def asker(context: Context) -> Ask:
    async def ask(request: control.Request) -> Any:
        settings = context.settings()
        if not settings.enabled:
            raise Conflict("the LLM proxy is off; set [eavs] enabled = true and restart")
        if elsewhere.is_meant(settings):
            raise Conflict(f"the LLM proxy is an EAVS at {settings.base_url}; see and change that there")
        return await control.ask(str(context.state_dir / "control.sock"), request)

    return ask


def _provider_handlers(context: Context, ask: Ask) -> Sequence[Any]:
    @get("/providers")
    async def list_providers() -> list[control.ProviderView]:
        return list((await ask(control.ListProviders())).providers)

    @post("/providers", opt=ADMIN)
    async def add_provider(
        data: JSONBody[NewProvider], identity: NamedDependency[Identity]
    ) -> control.ProviderView:
        provider = _checked(data, is_local=identity.door == "admin-socket")
        kind, _, name = data.api_key.partition(":")
        found = {name: os.environ[name]} if kind == "env" and name in os.environ else {}
        (added,) = (await ask(control.SetProvider(provider=provider, environment=found))).providers
        context.audit("provider_set", name=data.name, kind=data.kind)
        return added  # type: ignore[no-any-return]

    @delete("/providers/{name:str}", opt=ADMIN)
    async def delete_provider(name: str) -> None:
        await ask(control.DropProvider(name=name))
        context.audit("provider_deleted", name=name)

    return [list_providers, add_provider, delete_provider]


def _check_key(data: NewProvider, *, is_local: bool) -> None:
    # Who administers from a browser may not make the server read files of its machine.
    if data.api_key.startswith(ELSEWHERE) and not is_local:
        raise Invalid(
            "api_key: paste the key itself; env: and file: are for oqtoctl and the configuration file",
            field="api_key",
        )
    if (
        data.kind in KINDS
        and KINDS[data.kind].auth != "none"
        and not data.api_key
        and data.kind != "openai-compatible"
    ):
        raise Invalid(f"api_key: {KINDS[data.kind].title} needs one", field="api_key")


def _checked(data: NewProvider, *, is_local: bool) -> Provider:
    _check_key(data, is_local=is_local)
    return Provider(
        name=data.name,
        kind=data.kind,
        base_url=data.base_url.strip(),
        api_key=data.api_key.strip(),
        title=data.title,
        models=tuple(data.models),
        aliases=data.aliases,
        prices=data.prices,
        allow_models=tuple(data.allow_models),
        deny_models=tuple(data.deny_models),
        fallback=tuple(data.fallback),
        allow_unpriced=data.allow_unpriced,
        stream_options=data.stream_options,
    ).checked()
