"""
The values that cross hooks and process borders. Frozen: change with `msgspec.structs.replace`.

Money is integer nano-dollars inside (`…_nusd`, 1 USD = 1_000_000_000) and USD floats at the edge.
Times are seconds since the epoch (`…_at`) unless a name says `_ms`.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NewType, Protocol

import msgspec

if TYPE_CHECKING:
    from oqto_platform.canon import Event

AccountId = NewType("AccountId", str)
SessionId = NewType("SessionId", str)
ReservationId = NewType("ReservationId", str)

Role = Literal["admin", "user"]
SessionState = Literal["starting", "running", "stopping", "stopped", "failed", "settled"]
StopReason = Literal["asked", "idle", "exited", "failed", "deleted", "shutdown", "interrupted"]


def new_id(prefix: str) -> str:
    """A fresh id such as `ses_q3v…`: 100 bits, URL-safe, never guessed. The one mint."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    return f"{prefix}_" + "".join(secrets.choice(alphabet) for _ in range(20))


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A person who signs in."""

    id: AccountId
    name: str
    role: Role = "user"
    email: str = ""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The Linux user whose runner does the work of an account."""

    name: str
    uid: int
    home: str


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """
    Who asks, and through which door. Answer of `authenticate` and subject of `authorize`.

    An answer of `authenticate` with an empty `account_id` vouches for the name: it means the account of that
    name, which is made at the first sign-in with the `role` of the answer.
    """

    account_id: AccountId
    name: str
    role: Role = "user"
    door: Literal["password", "cookie", "bearer", "admin-socket"] = "cookie"

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a sign-in form sent. `repr` never shows the password."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(name={self.name!r}, password='***')"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's life in one workspace. The same id names its event log for ever."""

    id: SessionId
    account_id: AccountId
    workspace: str
    harness: str = "pi"
    provider: str = ""
    model: str = ""
    title: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a session ended, in words for people and in fields for programs."""

    reason: StopReason
    detail: str = ""
    exit_code: int | None = None
    stderr_tail: str = ""


class Relay(msgspec.Struct, frozen=True, kw_only=True):
    """
    A TCP port on 127.0.0.1 as the agent sees it, served by a Unix socket outside.

    Where the network is shared the port is already there; where it is isolated, whoever confines
    the agent listens on the port inside and forwards to the socket.
    """

    port: int
    socket: str


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a provider. Costs are USD per million tokens, for display only."""

    id: str
    name: str = ""
    reasoning: bool = False
    input: tuple[Literal["text", "image"], ...] = ("text",)
    context_window: int = 128_000
    max_tokens: int = 8_192
    cost_input: float = 0.0
    cost_output: float = 0.0
    cost_cache_read: float = 0.0
    cost_cache_write: float = 0.0


class ModelSource(msgspec.Struct, frozen=True, kw_only=True):
    """
    A provider as an agent may use it: through the LLM proxy, with the key in `key_env`.

    `base_url` is the address inside the sandbox, in the form the wire `api` wants it (with `/v1` for
    openai-completions and openai-responses, host root for anthropic-messages).
    """

    name: str
    title: str
    api: Literal["openai-completions", "openai-responses", "anthropic-messages", "google-generative-ai"]
    base_url: str
    key_env: str
    models: tuple[ModelInfo, ...]
    is_demo: bool = False


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """Money set aside for a session and what the agent needs to spend it: a virtual key, never a real one."""

    id: ReservationId
    limit_usd: float | None = None
    env: Mapping[str, str] = {}
    sources: tuple[ModelSource, ...] = ()
    relays: tuple[Relay, ...] = ()


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The final bill of a reservation; asking again gives the same answer."""

    spent_nusd: int

    @property
    def spent_usd(self) -> float:
        return self.spent_nusd / 1e9


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What an account spent. `sessions` maps a session id to nano-dollars of its current wallet."""

    spent_nusd: int = 0
    limit_nusd: int | None = None
    calls: int = 0
    sessions: Mapping[str, int] = {}


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What the core hands the runner beside the session: environment, models, how to begin."""

    env: Mapping[str, str] = {}
    sources: tuple[ModelSource, ...] = ()
    relays: tuple[Relay, ...] = ()
    resume: bool = False


class SpawnPlan(msgspec.Struct, frozen=True, kw_only=True):
    """
    A description of the process to run, before it is confined. Absolute paths only.

    `env` is the whole environment, nothing is inherited. `readable` and `writable` are what the
    program needs beyond the workspace (its own files, its private state); they are platform needs,
    which no policy can take away and no policy file can add to.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = {}
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    relays: tuple[Relay, ...] = ()


class ConfinedPlan(msgspec.Struct, frozen=True, kw_only=True):
    """
    The process that will really be executed.

    `env` is the environment of the launcher (bubblewrap gets none; the agent's travels in `fds`).
    `fds` are inheritable descriptors made for this plan; the runner passes them on and closes them.
    `cwd` and the agent's environment are those of the `SpawnPlan`.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = {}
    fds: tuple[int, ...] = ()
    confined_by: str
    profile: str = ""
    network: Literal["open", "isolated", "proxy"] = "open"
    summary: str = ""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of an agent that has ended. `input` and `output` are JSON-able and as the harness has them."""

    id: str
    name: str
    input: Any = None
    output: Any = None
    is_error: bool = False


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a health report. A failing one says what repairs it."""

    name: str
    ok: bool
    detail: str = ""
    repair: str = ""


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """Something a workspace can be made from."""

    name: str
    title: str
    description: str = ""
    source: str = ""


class WorkspaceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace somebody wants: an absolute path, perhaps from a template."""

    path: str
    create: bool = False
    template: str = ""
    options: Mapping[str, str] = {}


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that agents work in."""

    path: str
    name: str
    is_new: bool = False


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """
    A custom element of a plugin: `element` is defined by the ES module `module` of its static folder.

    `element` is `oqto-<plugin>` or begins with `oqto-<plugin>-`. At `place="tool"` it is a chat renderer: it
    shows, in the card of every call of one of `tools`, what went in and what came out.
    """

    element: str
    module: str
    place: Literal["session", "account", "admin", "first-run", "tool"]
    title: str
    roles: tuple[Role, ...] = ("admin", "user")
    tools: tuple[str, ...] = ()


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Periodic work on the leading worker; never overlaps itself."""

    name: str
    every_s: float
    run: Callable[[], Awaitable[None]]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """
    A number, or one for each combination of labels: `samples` maps the values of `labels`, a tuple, to it.

    `name` has no prefix and, for a counter, no `_total`; units stand in it (`spent_usd`, `wait_seconds`).
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()
    samples: Mapping[Any, float] = {}


class Tables(msgspec.Struct, frozen=True, kw_only=True):
    """SQLModel classes of a plugin and the folder of its Alembic versions."""

    models: tuple[type[Any], ...]
    migrations: Path


class PluginInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is installed: shown by `oqtoctl plugins`, never used to decide."""

    name: str
    side: Literal["core", "runner"]
    distribution: str
    version: str
    hooks: tuple[str, ...]


class Context(Protocol):
    """What a plugin gets to work with: its name, its settings, its data, nothing of the core's insides."""

    @property
    def name(self) -> str:
        """The plugin's name; also its config section, route prefix and table prefix."""

    @property
    def data_dir(self) -> Path:
        """A private directory (0700) that survives restarts; made on first use."""

    @property
    def state_dir(self) -> Path:
        """A private directory (0700) for sockets and the like; may be empty after a reboot."""

    @property
    def log(self) -> Any:
        """A structlog logger that names the plugin."""

    @property
    def db(self) -> Any:
        """`read(fn)` and `write(fn)`, from `startup` on; `None` on the runner side."""

    def settings(self) -> Any:
        """The plugin's section of the current snapshot. Take it once per operation."""

    def audit(self, event: str, **fields: Any) -> None:
        """
        Append the record `<plugin>.<event>` to the audit log.

        `actor`, `target`, `session` and `outcome` (ok, refused, failed) among `fields` are columns that admins
        can filter by; `actor` is who asks when it is left out. Secrets are replaced by stars. Raises
        `AuditUnwritable`.
        """

    def tell(self, session_id: SessionId, event: Event) -> bool:
        """
        Add a canonical event to the log of a session; everybody who follows it sees it.

        On the event loop's thread. On the runner `False` when the session has no living agent there; until its
        `agent_gone` returns a session takes events. In the core `True`: the event is on its way to the session's
        runner, which takes it while the agent lives; what cannot be delivered is logged.
        """

    def leads(self) -> bool:
        """Whether this worker runs the jobs. Exactly one of several workers does."""

    async def supervise(self, child: Any) -> None:
        """Keep an `oqto_platform.Child` running for as long as the server does."""
