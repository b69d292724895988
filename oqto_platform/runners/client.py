"""The core's side of the wire: typed calls to one runner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from oqto_platform import peers, tracing, wire
from oqto_platform.canon import Command, Compact, Event, Fork, NewSession, SwitchSession
from oqto_platform.errors import Internal, RunnerUnavailable
from oqto_platform.hooks import HookCount
from oqto_platform.runners.registry import RunnerAddress
from oqto_platform.runners.stream import EventStream
from oqto_platform.types import Launch, Session, SessionId, StopReason, Workspace, WorkspaceRequest

T = TypeVar("T")

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
LONG_COMMAND_S = 660.0
WORKSPACE_TIMEOUT_S = 130.0


class RunnerClient:
    """Calls to the runner at `address`. `timeout_s` is `runtime.timeout`. Errors are raised as `OqtoError`."""

    def __init__(self, address: RunnerAddress, timeout_s: float) -> None:
        self.address = address
        self._timeout_s = timeout_s

    async def hello(self) -> wire.HelloReply:
        return _expect(await self._call(wire.Hello()), wire.HelloReply)

    async def health(self) -> wire.HealthReply:
        return _expect(await self._call(wire.Health()), wire.HealthReply)

    async def take_audit(self, kept: str) -> wire.AuditBatch:
        return _expect(await self._call(wire.TakeAudit(kept=kept)), wire.AuditBatch)

    async def hooks(self) -> list[HookCount]:
        return _expect(await self._call(wire.CountHooks()), wire.HookCounts).counts

    async def reset_plugin(self, plugin: str) -> list[str]:
        """The hooks that were off. Raises `NotFound` for a plugin that the runner has not loaded."""
        return _expect(await self._call(wire.ResetPlugin(plugin=plugin)), wire.PluginReset).hooks

    async def start(self, session: Session, launch: Launch) -> wire.SessionStatus:
        request = wire.Start(session=session, launch=launch)
        return _expect(await self._call(request, START_TIMEOUT_S), wire.SessionStatus)

    async def stop(self, session_id: SessionId, reason: StopReason) -> None:
        """Returns when nothing of the agent is left; also when it was gone already."""
        _expect(await self._call(wire.Stop(session_id=session_id, reason=reason), STOP_TIMEOUT_S), wire.Done)

    async def delete(self, session_id: SessionId) -> None:
        _expect(await self._call(wire.Delete(session_id=session_id), STOP_TIMEOUT_S), wire.Done)

    async def status(self, session_id: SessionId) -> wire.SessionStatus:
        return _expect(await self._call(wire.Status(session_id=session_id)), wire.SessionStatus)

    async def list(self) -> dict[str, wire.SessionStatus]:
        reply = _expect(await self._call(wire.List()), wire.SessionList)
        return {status.session_id: status for status in reply.sessions}

    async def send(self, session_id: SessionId, command: Command) -> wire.Sent:
        is_long = isinstance(command, Compact | Fork | NewSession | SwitchSession)
        request = wire.Send(session_id=session_id, command=command)
        return _expect(await self._call(request, LONG_COMMAND_S if is_long else self._timeout_s), wire.Sent)

    async def tell(self, session_id: SessionId, event: Event) -> None:
        """Add `event` to the session's log. Raises `Conflict` when its agent does not live."""
        _expect(await self._call(wire.Tell(session_id=session_id, event=event)), wire.Done)

    async def browse(self, path: str, *, show_hidden: bool) -> wire.Listing:
        return _expect(await self._call(wire.Browse(path=path, show_hidden=show_hidden)), wire.Listing)

    async def open_workspace(self, request: WorkspaceRequest) -> Workspace:
        reply = await self._call(wire.OpenWorkspace(request=request), WORKSPACE_TIMEOUT_S)
        return _expect(reply, wire.Opened).workspace

    @asynccontextmanager
    async def follow(
        self, session_id: SessionId, after: int
    ) -> AsyncIterator[tuple[wire.Following, EventStream]]:
        """The reply to `session.follow` and the stream of event lines behind it."""
        path = self.address.socket
        stream = await wire.reached(path, peers.attach(path, self.address.uid, EventStream))
        try:
            line = await self._asked(stream, wire.Follow(session_id=session_id, after=after))
            yield _expect(wire.reply_of(line), wire.Following), stream
        finally:
            stream.close()

    async def _asked(self, stream: EventStream, request: wire.Follow) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await stream.ask(wire.encode(request))
        except TimeoutError as exc:
            raise RunnerUnavailable(f"the runner did not answer follow within {self._timeout_s:g} s") from exc

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[asyncio.StreamReader]:
        """A line each time that the state or the title of one of the runner's sessions changes."""
        async with wire.connect(self.address.socket, self.address.uid) as (reader, writer):
            writer.write(wire.encode(wire.Watch()) + b"\n")
            async with asyncio.timeout(self._timeout_s):
                await writer.drain()
                _expect(await wire.read_reply(reader), wire.Done)
            yield reader

    async def _call(self, request: wire.Request, timeout_s: float | None = None) -> wire.Reply:
        with tracing.span(f"runner {request.__struct_config__.tag}"):
            return await wire.call(
                self.address.socket,
                request,
                timeout_s=timeout_s or self._timeout_s,
                expected_uid=self.address.uid,
            )


def _expect(reply: wire.Reply, kind: type[T]) -> T:
    if not isinstance(reply, kind):
        raise Internal(f"the runner answered {type(reply).__name__} where {kind.__name__} was due")
    return reply
