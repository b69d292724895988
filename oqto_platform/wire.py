"""
Core and runner: newline-delimited JSON over a Unix socket, one exchange per connection.

The client writes one request line. The runner answers with one reply line; after `following` the lines
are events, as the log holds them, until either side closes. No correlation ids, and a slow reader stalls
nobody but itself. Both ends check who is at the other end with `SO_PEERCRED`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

import msgspec

from oqto_platform import peers
from oqto_platform.canon import Command, Event
from oqto_platform.errors import OqtoError, Problem, RunnerUnavailable, from_problem
from oqto_platform.hooks import HookCount
from oqto_platform.types import (
    Check,
    Launch,
    Outcome,
    PluginInfo,
    Session,
    SessionId,
    StopReason,
    Workspace,
    WorkspaceRequest,
)

T = TypeVar("T")

LIMIT = 32 * 2**20
"""Longest line, in bytes: a prompt with images is one line."""

CONNECT_TIMEOUT_S = 5.0


class _Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="cmd"):
    pass


class Hello(_Request, frozen=True, tag="runner.hello"):
    """Who are you?"""


class Health(_Request, frozen=True, tag="runner.health"):
    """Checks of the runner and its plugins."""


class Shutdown(_Request, frozen=True, tag="runner.shutdown"):
    """End all sessions with reason `shutdown`, then the process. Only the runner's own uid and root may."""


class TakeAudit(_Request, frozen=True, tag="runner.audit"):
    """What plugins recorded on this runner. `kept`: the batch that is in the audit log and may go."""

    kept: str = ""


class CountHooks(_Request, frozen=True, tag="runner.hooks"):
    """How the hooks of the runner's plugins did."""


class ResetPlugin(_Request, frozen=True, tag="runner.reset"):
    """Call a plugin again that the runner switched off because it kept failing."""

    plugin: str


class Start(_Request, frozen=True, tag="session.start"):
    """Start the agent of `session`, or answer how it already runs. Answered when the agent is ready."""

    session: Session
    launch: Launch


class Stop(_Request, frozen=True, tag="session.stop"):
    """End the agent; answered when nothing of it is left. Harmless when it does not run."""

    session_id: SessionId
    reason: StopReason


class Delete(_Request, frozen=True, tag="session.delete"):
    """Stop, then remove the event log, the history and the private agent directory."""

    session_id: SessionId


class Status(_Request, frozen=True, tag="session.status"):
    session_id: SessionId


class List(_Request, frozen=True, tag="session.list"):
    """Every session that this runner has a process or an unreported ending for."""


class Watch(_Request, frozen=True, tag="runner.watch"):
    """After `done`, a `status` for each session whose state or title changes. For who shows lists of sessions."""


class Send(_Request, frozen=True, tag="session.send"):
    """A canonical command for the agent; exactly one reply."""

    session_id: SessionId
    command: Command


class Tell(_Request, frozen=True, tag="session.tell"):
    """An event of a plugin of the core for the log of a session; refused when its agent does not live."""

    session_id: SessionId
    event: Event


class Follow(_Request, frozen=True, tag="session.follow"):
    """Events after `after`, then live. `after=0` begins with a snapshot: see `Following`."""

    session_id: SessionId
    after: int = 0


class Browse(_Request, frozen=True, tag="workspace.browse"):
    """The folders in `path` (`""`: the principal's home), for the picker."""

    path: str = ""
    show_hidden: bool = False


class OpenWorkspace(_Request, frozen=True, tag="workspace.open"):
    """Make or open a workspace, by the hook `create_workspace`."""

    request: WorkspaceRequest


Request = (
    Hello
    | Health
    | Shutdown
    | TakeAudit
    | CountHooks
    | ResetPlugin
    | Start
    | Stop
    | Delete
    | Status
    | List
    | Watch
    | Send
    | Tell
    | Follow
    | Browse
    | OpenWorkspace
)

AgentState = Literal["starting", "idle", "working", "waiting", "stopping", "dead"]


class _Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="reply"):
    pass


class HelloReply(_Reply, frozen=True, tag="hello"):
    runner_id: str
    version: str
    uid: int
    pid: int
    harnesses: tuple[str, ...]
    plugins: tuple[PluginInfo, ...]


class HealthReply(_Reply, frozen=True, tag="health"):
    checks: dict[str, list[Check]]


class AuditBatch(_Reply, frozen=True, tag="audit"):
    """The oldest records that wait, under the name of their batch; an empty name when none do."""

    batch: str = ""
    records: list[dict[str, Any]] = []


class HookCounts(_Reply, frozen=True, tag="hooks"):
    """Since the runner started; `off` is 1 for a hook that is not called for a while, else 0."""

    counts: list[HookCount]


class PluginReset(_Reply, frozen=True, tag="reset"):
    """The hooks that were off."""

    hooks: list[str]


class SessionStatus(_Reply, frozen=True, tag="status"):
    """
    `idle_s`: seconds without activity; 0 while a turn runs. `seq`: the last event in the log.

    `outcome` is set once the process is gone, until the core has taken note (`session.stop`).
    """

    session_id: SessionId
    state: AgentState
    idle_s: float = 0.0
    seq: int = 0
    pid: int | None = None
    confined_by: str = ""
    profile: str = ""
    network: str = ""
    sandbox: str = ""
    title: str = ""
    outcome: Outcome | None = None


class SessionList(_Reply, frozen=True, tag="sessions"):
    sessions: list[SessionStatus]


class Sent(_Reply, frozen=True, tag="sent"):
    """The agent took the command; `data` is its answer where the command asks for one."""

    data: msgspec.Raw = msgspec.Raw(b"null")


class Following(_Reply, frozen=True, tag="following"):
    """
    What comes next. `exact`: every event after `after`, without a hole.

    `snapshot`: the log from its start without the passing events of finished messages, so `seq` has
    holes; what is still being written is complete. `reset` asks the reader to forget what it holds.
    """

    mode: Literal["exact", "snapshot"]
    last: int
    reset: bool = False


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    path: str
    is_repository: bool = False


class Listing(_Reply, frozen=True, tag="listing"):
    """`refusal`: why no agent may work in `path` itself; empty where one may."""

    path: str
    parent: str | None
    folders: list[Folder]
    is_writable: bool = True
    is_truncated: bool = False
    refusal: str = ""


class Opened(_Reply, frozen=True, tag="opened"):
    workspace: Workspace


class Done(_Reply, frozen=True, tag="done"):
    pass


class Failed(_Reply, frozen=True, tag="failed"):
    problem: Problem


Reply = (
    HelloReply
    | HealthReply
    | AuditBatch
    | HookCounts
    | PluginReset
    | SessionStatus
    | SessionList
    | Sent
    | Following
    | Listing
    | Opened
    | Done
    | Failed
)

encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(Request).decode
decode_reply = msgspec.json.Decoder(Reply).decode


def peer_uid(writer: asyncio.StreamWriter) -> int:
    """The uid of the process at the other end of a Unix socket, as the kernel knows it."""
    return peers.uid_of(writer.get_extra_info("socket"))


@asynccontextmanager
async def connect(
    path: str, expected_uid: int | None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the runner at `path`; refuses one that another uid answers on."""
    reader, writer = await reached(path, peers.connect(path, expected_uid, limit=LIMIT))
    try:
        yield reader, writer
    finally:
        writer.close()


async def reached(path: str, connecting: Awaitable[T]) -> T:
    """What `connecting` gives, in time. Raises `RunnerUnavailable` with the path of the socket."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await connecting
    except (OSError, TimeoutError) as exc:
        raise RunnerUnavailable(
            f"the runner does not answer on {path}: {exc or 'timed out'}", socket=path
        ) from exc


async def call(path: str, request: Request, *, timeout_s: float, expected_uid: int | None = None) -> Reply:
    """One request, one reply. A `failed` reply is raised as the error it carries."""
    async with connect(path, expected_uid) as (reader, writer):
        try:
            async with asyncio.timeout(timeout_s):
                writer.write(encode(request) + b"\n")
                await writer.drain()
                return await read_reply(reader)
        except TimeoutError as exc:
            cmd = type(request).__struct_config__.tag
            raise RunnerUnavailable(f"the runner did not answer {cmd} within {timeout_s:g} s") from exc
        except (OSError, ValueError) as exc:
            raise RunnerUnavailable(f"the connection to the runner broke: {exc}") from exc


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """Read one reply line; raises the error of a `failed` reply."""
    line = await reader.readline()
    return reply_of(line if line.endswith(b"\n") else b"")


def reply_of(line: bytes) -> Reply:
    """The reply in `line`, empty when there was none; raises the error of a `failed` reply."""
    if not line:
        raise RunnerUnavailable("the runner closed the connection before it answered")
    reply: Reply = decode_reply(line)
    if isinstance(reply, Failed):
        raise from_problem(reply.problem)
    return reply


def failed(error: OqtoError) -> Failed:
    """The reply for an error."""
    return Failed(problem=error.to_problem())
