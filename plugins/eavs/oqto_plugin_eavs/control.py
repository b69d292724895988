"""
The control socket of the proxy: what may be asked, and a client that asks.

Newline-delimited JSON over a Unix socket (0600), one request and one reply per connection. Only the proxy's
own account and root are answered, and both ends look who is there (`SO_PEERCRED`).
"""

from __future__ import annotations

import asyncio
import os
from typing import Literal

import msgspec

from oqto_platform import peers
from oqto_platform.errors import OqtoError, Problem, from_problem
from oqto_platform.types import Check, ModelSource

from . import untaken  # noqa: F401 (both ends must know the errors that cross)
from .keys import Grants
from .providers import Provider
from .rates import Rates
from .wallets import Window

LIMIT = 64 * 2**20
"""Longest line: a report of `desk.MOST_ROWS`."""
TIMEOUT_S = 20.0


class ProxyUnavailable(OqtoError):
    """The LLM proxy does not answer on its control socket."""

    code, status, title = "llm-proxy-unavailable", 503, "LLM proxy unavailable"


class _Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="cmd"):
    pass


class Mint(_Request, frozen=True, kw_only=True, tag="key.mint"):
    """A key for a session. The same session keeps its wallet, whatever it spent."""

    session_id: str
    account_id: str
    workspace: str = ""
    name: str = ""
    limit_nusd: int | None = None
    account_limit_nusd: int | None = None
    account_window: Window = "total"
    rpm: int = 0
    rates: Rates = Rates()


class Settle(_Request, frozen=True, kw_only=True, tag="session.settle"):
    """Revoke the keys of a session, end its calls, answer what it spent. Safe to repeat."""

    session_id: str


class AccountUsage(_Request, frozen=True, kw_only=True, tag="account.usage"):
    account_id: str


class Report(_Request, frozen=True, kw_only=True, tag="usage.report"):
    """Sums of the calls from `since` on and before `until`, grouped."""

    by: Literal["session", "workspace", "account", "key", "model", "provider", "day"] = "day"
    account_id: str = ""
    since: float = 0.0
    until: float = 1e12


class Limit(_Request, frozen=True, kw_only=True, tag="wallet.limit"):
    """
    What a wallet may spend (`None`: no limit) and how often its calls may come (`None`: as before).

    `platform`, `group:NAME`, `account:ID`, `workspace:ACCOUNT:PATH`, `session:ID` or `key:ID`.
    """

    wallet: str
    limit_nusd: int | None = None
    window: Window = "total"
    rates: Rates | None = None


class SetGroup(_Request, frozen=True, kw_only=True, tag="group.set"):
    """Exactly these accounts are in the group; it is made when missing and goes when empty."""

    name: str
    accounts: tuple[str, ...]


class ListWallets(_Request, frozen=True, kw_only=True, tag="wallet.list"):
    """
    The wallets of an account and all above it; without one all but those of sessions.

    Of sessions those that spent most, or only `session_id`.
    """

    account_id: str = ""
    session_id: str = ""


class CreateKey(_Request, frozen=True, kw_only=True, tag="key.create"):
    """
    A key beside those of sessions, for `owner`: a wallet that exists, or an account or workspace to be made.

    `expires_at` is seconds since the epoch. With `limit_nusd` it has a wallet of its own inside the owner's.
    """

    owner: str = "platform"
    name: str = ""
    expires_at: float | None = None
    grants: Grants = Grants()
    limit_nusd: int | None = None
    window: Window = "total"


class RotateKey(_Request, frozen=True, kw_only=True, tag="key.rotate"):
    """A new secret for the same wallet and rights; the old one works `grace_s` seconds longer."""

    key_id: str
    grace_s: float = 0.0


class ListKeys(_Request, frozen=True, kw_only=True, tag="key.list"):
    account_id: str = ""


class Revoke(_Request, frozen=True, kw_only=True, tag="key.revoke"):
    """End a key. With `account_id` only one of that account's."""

    key_id: str
    account_id: str = ""


class Alerts(_Request, frozen=True, kw_only=True, tag="alert.list"):
    """What people are to be told, after the number `after`; of one account when `account_id` is set."""

    after: int = 0
    account_id: str = ""
    most: int = 200


class ReadMetrics(_Request, frozen=True, kw_only=True, tag="metrics"):
    """The numbers of this process, as Prometheus reads them."""


class ListProviders(_Request, frozen=True, kw_only=True, tag="provider.list"):
    pass


class SetProvider(_Request, frozen=True, kw_only=True, tag="provider.set"):
    """Add or replace a provider of the admin's; `probe` makes a real call first."""

    provider: Provider
    probe: bool = True
    environment: dict[str, str] = {}
    """The variable that an `env:NAME` in `api_key` means, where that is the asker's."""


class DropProvider(_Request, frozen=True, kw_only=True, tag="provider.delete"):
    name: str


class Configure(_Request, frozen=True, kw_only=True, tag="provider.configure"):
    """The providers of the configuration, all of them; those of the admin stay. And what goes with them."""

    providers: tuple[Provider, ...] = ()
    allow_unpriced: bool = False
    hold_output_tokens: int = 8_192
    max_body_mb: int = 64
    platform_limit_nusd: int | None = None
    platform_window: Window = "total"


class SetEnvironment(_Request, frozen=True, kw_only=True, tag="provider.environment"):
    """The variables that stored keys are read from, as they are now."""

    environment: dict[str, str]


class Sources(_Request, frozen=True, kw_only=True, tag="source.list"):
    """The providers as an agent sees them, at `proxy_url`, with the key in `key_env`."""

    proxy_url: str
    key_env: str = "EAVS_API_KEY"


class HealthCheck(_Request, frozen=True, kw_only=True, tag="health"):
    pass


Request = (
    Mint | Settle | AccountUsage | Report | Limit | SetGroup | ListWallets | CreateKey | RotateKey | ListKeys | Revoke
    | Alerts | ReadMetrics | ListProviders | SetProvider | DropProvider | Configure | SetEnvironment | Sources | HealthCheck
)  # fmt: skip


class _Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="reply"):
    pass


class Minted(_Reply, frozen=True, kw_only=True, tag="minted"):
    key: str
    reservation_id: str
    limit_nusd: int | None = None
    spent_nusd: int = 0


class Settled(_Reply, frozen=True, kw_only=True, tag="settled"):
    spent_nusd: int


class UsageReply(_Reply, frozen=True, kw_only=True, tag="usage"):
    spent_nusd: int = 0
    limit_nusd: int | None = None
    calls: int = 0
    sessions: dict[str, int] = {}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a report."""

    name: str
    calls: int
    cost_nusd: int
    input: int
    cache_read: int
    cache_write: int
    output: int
    estimated: int


class ReportReply(_Reply, frozen=True, kw_only=True, tag="report"):
    rows: list[Row]


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is not revoked, without its secret. `rpm` and the other limits are those of the key and its wallet."""

    id: str
    owner: str
    session: str
    account: str
    workspace: str
    name: str
    rpm: int
    created_at: float
    expires_at: float | None
    spent_nusd: int
    limit_nusd: int | None
    window: Window = "total"
    grants: Grants = Grants()


class CreatedReply(_Reply, frozen=True, kw_only=True, tag="key.created"):
    """The only time that a secret is shown."""

    secret: str
    key: KeyView


class WalletView(msgspec.Struct, frozen=True, kw_only=True):
    """Who may spend what; `held` is set aside for calls that run."""

    id: str
    kind: str
    name: str
    parent: str
    limit_nusd: int | None
    window: Window
    spent_nusd: int
    held_nusd: int
    total_nusd: int
    calls: int
    open_calls: int
    is_custom: bool
    rates: Rates = Rates()


class WalletsReply(_Reply, frozen=True, kw_only=True, tag="wallets"):
    wallets: list[WalletView]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A wallet has reached `percent` of its limit; 100: a call was refused, or nothing is left."""

    number: int
    at: float
    wallet: str
    kind: str
    name: str
    account: str
    session: str
    percent: int
    spent_nusd: int
    limit_nusd: int
    window: str


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """A counter or a gauge: the values of `labels`, and the number for each."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()
    samples: list[tuple[tuple[str, ...], float]] = []


class MetricsReply(_Reply, frozen=True, kw_only=True, tag="metrics"):
    """The numbers, and all of it in the exposition format."""

    numbers: list[Number]
    text: str


class AlertsReply(_Reply, frozen=True, kw_only=True, tag="alerts"):
    alerts: list[Alert]


class KeysReply(_Reply, frozen=True, kw_only=True, tag="keys"):
    keys: list[KeyView]


class ProviderView(msgspec.Struct, frozen=True, kw_only=True):
    """A provider without its secret."""

    name: str
    title: str
    kind: str
    base_url: str
    has_key: bool
    is_demo: bool
    source: str
    models: tuple[str, ...]
    unpriced: tuple[str, ...] = ()


class ProvidersReply(_Reply, frozen=True, kw_only=True, tag="providers"):
    providers: list[ProviderView]


class SourcesReply(_Reply, frozen=True, kw_only=True, tag="sources"):
    sources: list[ModelSource]


class HealthReply(_Reply, frozen=True, kw_only=True, tag="healthy"):
    checks: list[Check]
    pid: int
    open_calls: int
    listens: str
    workers: int = 1


class Done(_Reply, frozen=True, kw_only=True, tag="done"):
    pass


class Configured(_Reply, frozen=True, kw_only=True, tag="configured"):
    """Done. `wants` are the variables that `SetEnvironment` should bring."""

    wants: tuple[str, ...] = ()


class Failed(_Reply, frozen=True, kw_only=True, tag="failed"):
    problem: Problem


Reply = (
    Minted | Settled | UsageReply | ReportReply | KeysReply | CreatedReply | WalletsReply | AlertsReply | MetricsReply
    | ProvidersReply | SourcesReply | HealthReply | Done | Configured | Failed
)  # fmt: skip

encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(Request).decode
decode_reply = msgspec.json.Decoder(Reply).decode


async def ask(path: str, request: Request, *, timeout_s: float = TIMEOUT_S) -> Reply:
    """One request, one reply. Raises `ProxyUnavailable`, or the error that a `failed` reply carries."""
    try:
        async with asyncio.timeout(timeout_s):
            line = await peers.ask(path, encode(request), os.getuid(), limit=LIMIT)
    except (OSError, TimeoutError, ValueError) as exc:
        text = f"the LLM proxy does not answer on {path}: {exc or 'timed out'}; see its log, or restart the server"
        raise ProxyUnavailable(text) from exc
    reply: Reply = decode_reply(line)
    if isinstance(reply, Failed):
        raise from_problem(reply.problem)
    return reply
