"""Answers to what the control socket asks: keys, wallets, reports and providers."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import msgspec

from oqto_platform import clock
from oqto_platform.errors import Conflict, Invalid, NotFound
from oqto_platform.types import Check

from . import control
from .probe import probe
from .providers import Provider
from .proxy import Limits
from .wallet_desk import WalletDesk
from .wallets import PLATFORM

if TYPE_CHECKING:
    from .crew import Crew
    from .keys import Keys
    from .ledger import Ledger
    from .metrics import Metrics
    from .place import Place
    from .proxy import Proxy
    from .store import Store
    from .vault import Vault

SAVE = """INSERT INTO providers (name, source, body, secret, updated_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT(name) DO UPDATE SET source = excluded.source, body = excluded.body, secret = excluded.secret,
updated_at = excluded.updated_at"""
GROUPS = {
    "session": "wallet",
    "account": "account",
    "workspace": "workspace",
    "key": "key_id",
    "model": "provider || '/' || model",
    "provider": "provider",
    "day": "date(started_at, 'unixepoch')",
}


class Desk:
    """Everything that the core and the admin may ask of the proxy."""

    def __init__(
        self,
        *,
        store: Store,
        ledger: Ledger,
        keys: Keys,
        proxy: Proxy,
        vault: Vault,
        metrics: Metrics,
        crew: Crew,
        place: Place,
    ) -> None:
        self._store, self._ledger, self._proxy = store, ledger, proxy
        self._wallets = WalletDesk(store, ledger, keys)
        self._vault, self._metrics, self._crew, self._place = vault, metrics, crew, place

    async def load(self) -> None:
        """Bring the stored providers back."""
        for name, source, body, secret in await self._store.read(
            "SELECT name, source, body, secret FROM providers"
        ):
            provider = msgspec.json.decode(body, type=Provider)
            opened = self._vault.open(name, secret)
            self._proxy.registry.put(msgspec.structs.replace(provider, api_key=opened, source=source))

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
            f" GROUP BY 1 ORDER BY 1",
            (ask.since, ask.until, ask.account_id, ask.account_id),
        )
        fields = control.Row.__struct_fields__
        return control.ReportReply(rows=[control.Row(**dict(zip(fields, row, strict=True))) for row in rows])

    async def _read_metrics(self, ask: control.ReadMetrics) -> control.MetricsReply:
        return self._metrics.reply()

    async def _list_providers(self, ask: control.ListProviders) -> control.ProvidersReply:
        return control.ProvidersReply(providers=[view(provider) for provider in self._proxy.registry.all()])

    async def _set_provider(self, ask: control.SetProvider) -> control.ProvidersReply:
        provider = msgspec.structs.replace(ask.provider, source="admin").checked()
        known = self._proxy.registry.get(provider.name)
        if known is not None and known.source == "config":
            text = f"provider {provider.name} comes from the configuration; change [eavs.providers.{provider.name}] there"
            raise Conflict(text)
        if ask.probe:
            provider = await probe(
                provider, self._proxy.pool, allow_unpriced=self._proxy.limits.allow_unpriced
            )
        await self._save(provider)
        self._proxy.registry.put(provider)
        await self._crew.tell()
        return control.ProvidersReply(providers=[view(provider)])

    async def _save(self, provider: Provider) -> None:
        body = msgspec.json.encode(msgspec.structs.replace(provider, api_key=""))
        sealed = await asyncio.to_thread(self._vault.seal, provider.name, provider.api_key)
        await self._store.write((SAVE, (provider.name, provider.source, body, sealed, clock.now())))

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
        await self._store.write(("DELETE FROM providers WHERE name = ?", (ask.name,)))
        self._proxy.registry.drop(ask.name)
        await self._crew.tell()
        return control.Done()

    async def _configure(self, ask: control.Configure) -> control.Done:
        wanted = {p.name: msgspec.structs.replace(p, source="config").checked() for p in ask.providers}
        for provider in self._proxy.registry.all():
            if provider.source == "config" and provider.name not in wanted:
                await self._store.write(("DELETE FROM providers WHERE name = ?", (provider.name,)))
                self._proxy.registry.drop(provider.name)
        for provider in wanted.values():
            await self._save(provider)
            self._proxy.registry.put(provider)
        if not self._ledger.wallets[PLATFORM].is_custom:
            await self._ledger.set_limit(PLATFORM, ask.platform_limit_nusd, ask.platform_window)
        self._proxy.limits = Limits(
            max_body=ask.max_body_mb * 2**20,
            hold_output=ask.hold_output_tokens,
            allow_unpriced=ask.allow_unpriced,
        )
        await self._crew.tell()
        return control.Done()

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


def _check(provider: Provider) -> Check | None:
    if provider.is_demo:
        return None
    name = f"provider {provider.name}"
    try:
        has_key = bool(provider.key())
    except Invalid as exc:
        return Check(
            name=name, ok=False, detail=exc.detail, repair="set the variable or make the file readable"
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
