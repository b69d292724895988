"""Answers to what the control socket asks: keys, wallets, reports and providers."""

from __future__ import annotations

import os
from collections import ChainMap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from oqto_platform.errors import Conflict, Invalid, NotFound
from oqto_platform.types import Check

from . import control
from .probe import probe
from .providers import Provider, resolve
from .proxy import Limits
from .shelf import ENV
from .wallet_desk import WalletDesk
from .wallets import PLATFORM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .crew import Crew
    from .keys import Keys
    from .ledger import Ledger
    from .metrics import Metrics
    from .place import Place
    from .proxy import Proxy
    from .shelf import Shelf
    from .store import Store

MOST_ROWS = 200_000
GROUPS = {
    "session": "wallet",
    "account": "account",
    "workspace": "workspace",
    "key": "key_id",
    "model": "provider || '/' || model",
    "provider": "provider",
    "day": "date(started_at, 'unixepoch')",
}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a running proxy is made of."""

    store: Store
    ledger: Ledger
    keys: Keys
    proxy: Proxy
    metrics: Metrics
    crew: Crew
    shelf: Shelf


class Desk:
    """Everything that the core and the admin may ask of the proxy."""

    def __init__(self, parts: Parts, place: Place) -> None:
        self._store, self._ledger, self._proxy = parts.store, parts.ledger, parts.proxy
        self._wallets = WalletDesk(parts.store, parts.ledger, parts.keys)
        self._shelf, self._metrics, self._crew, self._place = parts.shelf, parts.metrics, parts.crew, place

    async def load(self) -> None:
        """Bring the stored providers back."""
        for provider in await self._shelf.load():
            self._proxy.registry.put(provider)

    async def answer(self, request: control.Request) -> control.Reply:
        """The reply to a request; raises `OqtoError`."""
        handlers: dict[type, Any] = {
            control.Mint: self._wallets.mint,
            control.Settle: self._wallets.settle,
            control.AccountUsage: self._wallets.usage,
            control.Limit: self._wallets.limit,
            control.SetGroup: self._wallets.set_group,
            control.ListWallets: self._wallets.wallets,
            control.CreateKey: self._wallets.create_key,
            control.RotateKey: self._wallets.rotate_key,
            control.ListKeys: self._wallets.list_keys,
            control.Revoke: self._wallets.revoke,
            control.Alerts: self._wallets.alerts,
            control.Report: self._report,
            control.ReadMetrics: self._read_metrics,
            control.ListProviders: self._list_providers,
            control.SetProvider: self._set_provider,
            control.DropProvider: self._drop_provider,
            control.Configure: self._configure,
            control.SetEnvironment: self._set_environment,
            control.Sources: self._sources,
            control.HealthCheck: self._health,
        }
        reply: control.Reply = await handlers[type(request)](request)
        return reply

    async def _report(self, ask: control.Report) -> control.ReportReply:
        group = GROUPS[ask.by]
        rows = await self._store.read(
            f"SELECT {group}, count(*), sum(cost_nusd), sum(input), sum(cache_read), sum(cache_write + cache_write_1h),"  # noqa: S608 fixed words
            f" sum(output), sum(is_estimated) FROM calls WHERE state = 'settled' AND started_at >= ? AND started_at < ? AND (? = '' OR account = ?)"
            f" GROUP BY 1 ORDER BY 1 LIMIT ?",
            (ask.since, ask.until, ask.account_id, ask.account_id, MOST_ROWS + 1),
        )
        if len(rows) > MOST_ROWS:
            raise Invalid(
                f"the report has more than {MOST_ROWS} lines; ask for fewer days, or by another name"
            )
        fields = control.Row.__struct_fields__
        return control.ReportReply(rows=[control.Row(**dict(zip(fields, row, strict=True))) for row in rows])

    async def _read_metrics(self, ask: control.ReadMetrics) -> control.MetricsReply:
        return self._metrics.reply()

    async def _list_providers(self, ask: control.ListProviders) -> control.ProvidersReply:
        return control.ProvidersReply(providers=[view(provider) for provider in self._proxy.registry.all()])

    async def _set_provider(self, ask: control.SetProvider) -> control.ProvidersReply:
        reference, key = _read_now(ask.provider, ChainMap(ask.environment, os.environ))
        provider = msgspec.structs.replace(ask.provider, source="admin", api_key=key).checked()
        known = self._proxy.registry.get(provider.name)
        if known is not None and known.source == "config":
            text = f"provider {provider.name} comes from the configuration; change [eavs.providers.{provider.name}] there"
            raise Conflict(text)
        if ask.probe:
            provider = await probe(
                provider, self._proxy.pool, allow_unpriced=self._proxy.limits.allow_unpriced
            )
        await self._shelf.save(provider, reference)
        self._proxy.registry.put(provider)
        await self._crew.tell()
        return control.ProvidersReply(providers=[view(provider)])

    async def _set_environment(self, ask: control.SetEnvironment) -> control.Done:
        """Take the keys that stand in the server's environment as they are now."""
        for name, reference in list(self._shelf.references.items()):
            known, now = self._proxy.registry.get(name), ask.environment.get(reference.removeprefix(ENV))
            if known is None or now is None or now == known.api_key:
                continue
            fresh = msgspec.structs.replace(known, api_key=now)
            await self._shelf.save(fresh, reference)
            self._proxy.registry.put(fresh)
        await self._crew.tell()
        return control.Done()

    async def _drop_provider(self, ask: control.DropProvider) -> control.Done:
        known = self._proxy.registry.get(ask.name)
        if known is None:
            raise NotFound(f"there is no provider {ask.name!r}")
        if known.source != "admin":
            built_in = f"provider {ask.name} is built in and always there"
            in_file = (
                f"provider {ask.name} comes from the configuration; remove [eavs.providers.{ask.name}] there"
            )
            raise Conflict(in_file if known.source == "config" else built_in)
        await self._shelf.drop(ask.name)
        self._proxy.registry.drop(ask.name)
        await self._crew.tell()
        return control.Done()

    async def _configure(self, ask: control.Configure) -> control.Configured:
        wanted = {p.name: msgspec.structs.replace(p, source="config").checked() for p in ask.providers}
        for provider in self._proxy.registry.all():
            if provider.source == "config" and provider.name not in wanted:
                await self._shelf.drop(provider.name)
                self._proxy.registry.drop(provider.name)
        for provider in wanted.values():
            await self._shelf.save(provider)
            self._proxy.registry.put(provider)
        if not self._ledger.wallets[PLATFORM].is_custom:
            await self._ledger.set_limit(PLATFORM, ask.platform_limit_nusd, ask.platform_window)
        self._proxy.limits = Limits(
            max_body=ask.max_body_mb * 2**20,
            hold_output=ask.hold_output_tokens,
            allow_unpriced=ask.allow_unpriced,
        )
        await self._crew.tell()
        wants = sorted({reference.removeprefix(ENV) for reference in self._shelf.references.values()})
        return control.Configured(wants=tuple(wants))

    async def _sources(self, ask: control.Sources) -> control.SourcesReply:
        usable = [provider for provider in self._proxy.registry.all() if provider.offered()]
        return control.SourcesReply(sources=[p.model_source(ask.proxy_url, ask.key_env) for p in usable])

    async def _health(self, ask: control.HealthCheck) -> control.HealthReply:
        failure = self._store.failure
        ledger = Check(
            name="ledger",
            ok=not failure,
            detail=failure or f"writable: {self._store.path}",
            repair="free space on the disk, or end the program that locks the file" if failure else "",
        )
        checks = [ledger, *(check for p in self._proxy.registry.all() if (check := _check(p)) is not None)]
        return control.HealthReply(
            checks=checks,
            pid=os.getpid(),
            open_calls=sum(len(wallet.open_calls) for wallet in self._ledger.wallets.values()),
            listens=self._place.url,
            workers=self._place.workers,
        )


def _read_now(provider: Provider, environment: Mapping[str, str]) -> tuple[str, str]:
    """Where the key is read from, if that is an environment, which may not be ours; and the key."""
    if not provider.api_key.startswith(ENV):
        return "", provider.api_key
    return provider.api_key, resolve(provider.api_key, provider.name, environment)


def _check(provider: Provider) -> Check | None:
    if provider.is_demo:
        return None
    name = f"provider {provider.name}"
    try:
        has_key = bool(provider.key())
    except Invalid as exc:
        return Check(
            name=name, ok=False, detail=exc.detail, repair="set its key again, or make the file readable"
        )
    if has_key or provider.about.auth == "none" or provider.kind == "openai-compatible":
        return Check(name=name, ok=True, detail=provider.base_url or provider.about.base_url)
    repair = f"set api_key under [eavs.providers.{provider.name}]"
    return Check(name=name, ok=False, detail="it has no API key", repair=repair)


def view(provider: Provider) -> control.ProviderView:
    """A provider as it may be shown."""
    models = provider.offered()
    return control.ProviderView(
        name=provider.name,
        title=provider.title or provider.about.title,
        kind=provider.kind,
        base_url=provider.base_url or provider.about.base_url,
        has_key=bool(provider.api_key),
        is_demo=provider.is_demo,
        source=provider.source,
        models=models,
        unpriced=tuple(m for m in models if provider.price(provider.aliases.get(m, m)) is None),
    )
