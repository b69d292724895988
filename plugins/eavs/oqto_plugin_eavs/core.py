"""The core's side of the LLM proxy: starts the process, gives sessions their wallets, tells what was spent."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from oqto_platform import hookimpl
from oqto_platform.children import Child, stop
from oqto_platform.errors import ConfigError, Internal
from oqto_platform.types import (
    Account,
    Check,
    Job,
    Metric,
    ModelSource,
    Relay,
    Reservation,
    ReservationId,
    Session,
    SessionId,
    Settlement,
    Usage,
)

from . import control, elsewhere
from .config import Eavs, ProviderConfig
from .notices import notice_of
from .providers import ModelCost, Provider, resolve
from .rates import Rates
from .upstream import Timeouts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oqto_platform.settings import Section, Settings
    from oqto_platform.types import Context

KEY_ENV = "EAVS_API_KEY"
LOOPBACK = {"localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::1": "::1"}
DEFAULT_PORT = 41800
INHERITED = (
    "PATH", "HOME", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "OQTO_LOG", "RUST_LOG",
)  # fmt: skip
ALERTS_S = 3.0
R = TypeVar("R")


class _Core:
    """What `prepare` leaves for the other hooks of this process."""

    context: Context | None = None


_core = _Core()


@hookimpl
def register_config() -> type[Section]:
    """The section `[eavs]`."""
    return Eavs


@hookimpl
def register_routes(context: Context) -> Sequence[Any]:
    """Providers, keys and usage under `/api/plugins/eavs`."""
    from .routes import handlers

    return handlers(context)


@hookimpl
def register_commands(group: Any) -> None:
    """`oqtoctl eavs …`."""
    from .commands import add_to

    add_to(group)


@hookimpl
def register_jobs(context: Context) -> Sequence[Job]:
    """Bring what people are to be told about money to the audit log and into the chat."""
    return [Job(name="eavs alerts", every_s=ALERTS_S, run=lambda: record_alerts(context))]


@hookimpl
async def metrics() -> Sequence[Metric]:
    """The proxy's counters and gauges; its histograms are at `/api/plugins/eavs/metrics`."""
    context = _core.context
    if context is None or not context.settings().enabled:
        return ()
    if elsewhere.is_meant(context.settings()):
        return ()
    reply = _expect(
        control.MetricsReply, await control.ask(_socket(context), control.ReadMetrics(), timeout_s=2.5)
    )
    return [
        Metric(name=n.name, kind=n.kind, help=n.help, labels=n.labels, samples=dict(n.samples))
        for n in reply.numbers
    ]


@hookimpl
async def prepare(context: Context) -> None:
    """Have the proxy running, adopted or new, and give it the configured providers."""
    _core.context = context
    settings = context.settings()
    if not settings.enabled:
        return
    if elsewhere.is_meant(settings):
        elsewhere.check(settings)
        return
    host, port = address_of(settings)
    child = child_of(context, settings, host, port)
    await _end_another(child, f"http://{host}:{port}", settings.workers)
    await context.supervise(child)
    if context.leads():
        await configure(context, settings)


@hookimpl
async def config_changed(old: Settings, new: Settings) -> None:
    """Give a running proxy the new providers and limits; streams go on."""
    settings = new.section("eavs", Eavs)
    if (context := _core.context) is None or not settings.enabled or elsewhere.is_meant(settings):
        return
    if settings != old.section("eavs", Eavs):
        await configure(context, settings)


@hookimpl
async def health() -> Sequence[Check]:
    """What the proxy says about its ledger and its providers."""
    context = _core.context
    if context is None or not context.settings().enabled:
        return []
    if (there := elsewhere.of(context)) is not None:
        return await there.health()
    reply = _expect(
        control.HealthReply, await control.ask(_socket(context), control.HealthCheck(), timeout_s=2.5)
    )
    return [Check(name="LLM proxy", ok=True, detail=f"{reply.listens}, pid {reply.pid}"), *reply.checks]


@hookimpl
async def doctor(settings: Settings) -> Sequence[Check]:
    """The port of the proxy, and the keys of the configured providers."""
    from .checkup import all_checks

    return await asyncio.to_thread(all_checks, settings)


@hookimpl
async def budget_reserve(session: Session, account: Account) -> Reservation | None:
    """A fresh key on the session's one wallet."""
    context = _core.context
    if context is None or not (settings := context.settings()).enabled:
        return None
    if (there := elsewhere.of(context)) is not None:
        return await there.reserve(session, account)
    host, port = address_of(settings)
    url = f"http://{host}:{port}"
    mint = _mint(session, account, settings)
    sources = asyncio.ensure_future(_sources(context, url))
    sources.add_done_callback(lambda done: done.cancelled() or done.exception())  # told by the key's failure
    try:
        # Never left alone: a key that is made after its session was settled would stay.
        minted = _expect(control.Minted, await control.ask(_socket(context), mint, timeout_s=5))
        usable = await sources
    finally:
        sources.cancel()
    return Reservation(
        id=ReservationId(minted.reservation_id),
        limit_usd=None if minted.limit_nusd is None else minted.limit_nusd / 1e9,
        env={KEY_ENV: minted.key, "EAVS_URL": url},
        sources=usable,
        relays=(Relay(port=port, socket=str(context.state_dir / "llm.sock")),),
    )


def _mint(session: Session, account: Account, settings: Eavs) -> control.Mint:
    """What asks for the key of a session, within the limits of the configuration."""
    return control.Mint(
        session_id=session.id,
        account_id=account.id,
        workspace=session.workspace,
        name=account.name,
        limit_nusd=_nusd(settings.default_session_budget_usd),
        account_limit_nusd=_nusd(settings.account_budget_usd),
        account_window=settings.account_budget_window,
        rates=Rates(
            rpm=settings.default_session_rpm,
            tpm=settings.default_session_tpm,
            concurrent=settings.default_session_concurrent_calls,
        ),
    )


@hookimpl
async def list_models(account: Account) -> Sequence[ModelSource]:
    """The usable providers, as the agents see them."""
    context = _core.context
    if context is None or not (settings := context.settings()).enabled:
        return ()
    if (there := elsewhere.of(context)) is not None:
        return await there.sources()
    host, port = address_of(settings)
    return await _sources(context, f"http://{host}:{port}")


@hookimpl
async def budget_settle(session: Session, reservation_id: str) -> Settlement | None:
    """End the session's keys and calls, and add its bills up."""
    context = _core.context
    if context is None:
        return None
    if not context.settings().enabled:
        spent = await asyncio.to_thread(spent_on_disk, context.data_dir / "ledger.db", session.id)
        return Settlement(spent_nusd=spent)
    if (there := elsewhere.of(context)) is not None:
        return await there.settle(session)
    reply = await control.ask(_socket(context), control.Settle(session_id=session.id))
    return Settlement(spent_nusd=_expect(control.Settled, reply).spent_nusd)


@hookimpl
async def budget_usage(account: Account) -> Usage | None:
    """What the account spent in its current window."""
    context = _core.context
    if context is None or not context.settings().enabled:
        return None
    if (there := elsewhere.of(context)) is not None:
        return await there.usage(account)
    ask = control.AccountUsage(account_id=account.id)
    reply = _expect(control.UsageReply, await control.ask(_socket(context), ask, timeout_s=2.5))
    return Usage(
        spent_nusd=reply.spent_nusd, limit_nusd=reply.limit_nusd, calls=reply.calls, sessions=reply.sessions
    )


async def record_alerts(context: Context) -> None:
    """Write each alert into the audit log and its session's own; after a crash between, once more."""
    settings = context.settings()
    if not settings.enabled or elsewhere.is_meant(settings):
        return
    seen = context.data_dir / "alerts.seen"
    after = int(seen.read_text()) if seen.exists() else 0
    reply = _expect(control.AlertsReply, await control.ask(_socket(context), control.Alerts(after=after)))
    for alert in reply.alerts:
        facts = msgspec.structs.asdict(alert)
        context.audit("budget_threshold", actor="oqto-eavs", target=facts.pop("wallet"), **facts)
        seen.write_text(str(alert.number))
        if alert.session:
            context.tell(SessionId(alert.session), notice_of(alert))


async def _sources(context: Context, url: str) -> tuple[ModelSource, ...]:
    ask = control.Sources(proxy_url=url, key_env=KEY_ENV)
    return tuple(_expect(control.SourcesReply, await control.ask(_socket(context), ask)).sources)


def address_of(settings: Eavs) -> tuple[str, int]:
    """Host and port of `eavs.base_url`; raises `ConfigError` for what is not on this machine."""
    parts = urlsplit(settings.base_url)
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError as exc:
        raise ConfigError(f"[eavs] base_url {settings.base_url!r}: {exc}") from exc
    if parts.scheme != "http" or parts.path.strip("/") or parts.hostname not in LOOPBACK:
        text = f"[eavs] base_url {settings.base_url!r} must be http://localhost:PORT for a proxy of our own"
        raise ConfigError(text)
    return LOOPBACK[parts.hostname], port


def child_of(context: Context, settings: Eavs, host: str, port: int) -> Child:
    """The process to supervise. Secrets reach it by its control socket, never by arguments."""
    state, data = context.state_dir, context.data_dir
    listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    options = ["--state-dir", str(state), "--data-dir", str(data), "--listen", listen]
    options += ["--llm-socket-mode", settings.llm_socket_mode, "--workers", str(settings.workers)]
    if settings.ca_file:
        options += ["--ca-file", settings.ca_file]
    return Child(
        name="eavs",
        argv=(sys.executable, "-I", "-m", "oqto_plugin_eavs", "serve", *options),
        socket=str(state / "control.sock"),
        log_file=str(state / "eavs.log"),
        env={name: os.environ[name] for name in INHERITED if name in os.environ},
    )


async def _end_another(child: Child, url: str, workers: int) -> None:
    """A proxy left over from another `base_url` or with other workers would be adopted as it is: end it."""
    try:
        reply = _expect(
            control.HealthReply, await control.ask(child.socket, control.HealthCheck(), timeout_s=2)
        )
    except control.ProxyUnavailable:
        return
    if (reply.listens, reply.workers) != (url, workers):
        await stop(child)


async def configure(context: Context, settings: Eavs) -> None:
    """Send the configured providers, limits and budgets."""
    providers = tuple(provider_of(name, entry) for name, entry in settings.providers.items())
    ask = control.Configure(
        providers=providers,
        allow_unpriced=settings.allow_unpriced,
        hold_output_tokens=settings.hold_output_tokens,
        max_body_mb=settings.max_body_mb,
        platform_limit_nusd=_nusd(settings.platform_budget_usd),
        platform_window=settings.platform_budget_window,
    )
    wants = _expect(control.Configured, await control.ask(_socket(context), ask)).wants
    if found := {name: os.environ[name] for name in wants if name in os.environ}:
        await control.ask(_socket(context), control.SetEnvironment(environment=found))


def provider_of(name: str, entry: ProviderConfig) -> Provider:
    """A provider of the configuration with its secret looked up here, where its environment is."""
    prices = {model: ModelCost(**msgspec.structs.asdict(price)) for model, price in entry.prices.items()}
    fields = msgspec.structs.asdict(entry)
    headers = {header: value.reveal() for header, value in entry.headers.items()}
    timeouts = Timeouts(
        connect_s=fields.pop("connect_timeout_s"),
        first_byte_s=fields.pop("first_byte_timeout_s"),
        silence_s=fields.pop("idle_timeout_s"),
        total_s=fields.pop("total_timeout_s"),
    )
    fields |= {
        "timeouts": timeouts,
        "prices": prices,
        "headers": headers,
        "api_key": resolve(entry.api_key.reveal(), name),
    }
    return Provider(name=name, source="config", **fields)


def spent_on_disk(path: Path, session_id: str) -> int:
    """What a session spent, read from the ledger of a proxy that does not run; 0 without a ledger."""
    if not path.exists():
        return 0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        query = "SELECT sum(CASE state WHEN 'pending' THEN hold_nusd ELSE cost_nusd END) FROM calls WHERE wallet = ?"
        return int(connection.execute(query, (f"session:{session_id}",)).fetchone()[0] or 0)
    finally:
        connection.close()


def _socket(context: Context) -> str:
    return str(context.state_dir / "control.sock")


def _nusd(usd: float) -> int | None:
    return None if math.isinf(usd) else round(usd * 1e9)


def _expect(kind: type[R], reply: Any) -> R:
    if not isinstance(reply, kind):
        raise Internal(f"the LLM proxy answered with {type(reply).__name__}, expected {kind.__name__}")
    return reply
