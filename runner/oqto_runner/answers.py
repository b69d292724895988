"""What the runner answers to each request of the wire."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import msgspec

from oqto_platform import wire
from oqto_platform.errors import Conflict, Forbidden, Invalid
from oqto_platform.hooks import Hooks
from oqto_platform.types import Check, WorkspaceRequest
from oqto_runner import browse, recorded, workspaces
from oqto_runner.config import Current
from oqto_runner.harness import Harness
from oqto_runner.sessions import Sessions

BROWSE_TIMEOUT_S = 10.0
LOW_DISK_MB = 256


class Answers:
    """One method per kind of request."""

    def __init__(
        self,
        runner_id: str,
        sessions: Sessions,
        hooks: Hooks,
        harnesses: Mapping[str, Harness],
        state_dir: Path,
        config: Current,
        end: Callable[[], None],
    ) -> None:
        self.sessions = sessions
        self._runner_id = runner_id
        self._hooks = hooks
        self._harnesses = harnesses
        self._state_dir = state_dir
        self._config = config
        self._end = end

    async def answer(self, request: wire.Request, uid: int) -> wire.Reply:
        """The reply to `request`, asked by `uid`. Raises `OqtoError`."""
        match request:
            case wire.Start(session=session, launch=launch):
                await self._refresh()
                return await self.sessions.start(session, launch)
            case wire.Stop(session_id=session_id, reason=reason):
                await self.sessions.stop(session_id, reason)
            case wire.Delete(session_id=session_id):
                await self.sessions.delete(session_id)
            case wire.Status(session_id=session_id):
                return self.sessions.status(session_id)
            case wire.List():
                return wire.SessionList(sessions=self.sessions.list())
            case wire.Send(session_id=session_id, command=command):
                data = await self.sessions.send(session_id, command)
                return wire.Sent(data=msgspec.Raw(msgspec.json.encode(data)))
            case wire.Tell(session_id=session_id, event=event):
                if not self.sessions.tell(session_id, event):
                    raise Conflict(
                        f"the agent of session {session_id} does not live, so its log takes nothing"
                    )
            case wire.Shutdown():
                self._shutdown(uid)
            case _:
                return await self._about_the_machine(request)
        return wire.Done()

    async def _refresh(self) -> None:
        """A session begins with what the configuration says now."""
        if (change := self._config.refresh()) is not None:
            await self._hooks.call.config_changed(change.old, change.new)

    async def _about_the_machine(self, request: wire.Request) -> wire.Reply:
        match request:
            case wire.Hello():
                return self._hello()
            case wire.TakeAudit(kept=kept):
                batch, records = await asyncio.to_thread(recorded.take, self._state_dir, kept)
                return wire.AuditBatch(batch=batch, records=records)
            case wire.Health():
                return wire.HealthReply(checks=await self._checks())
            case wire.Browse(path=path, show_hidden=show_hidden):
                return await self._browse(path, show_hidden=show_hidden)
            case wire.OpenWorkspace(request=wanted):
                return await self._open_workspace(wanted)
        return self._about_plugins(request)

    def _about_plugins(self, request: wire.Request) -> wire.Reply:
        match request:
            case wire.CountHooks():
                return wire.HookCounts(counts=self._hooks.counted())
            case wire.ResetPlugin(plugin=plugin):
                return wire.PluginReset(hooks=self._hooks.switch_on(plugin))
        raise Invalid(f"{type(request).__name__} is answered elsewhere")

    def _hello(self) -> wire.HelloReply:
        return wire.HelloReply(
            runner_id=self._runner_id,
            version=version("oqto-runner"),
            uid=os.getuid(),
            pid=os.getpid(),
            harnesses=tuple(self._harnesses),
            plugins=tuple(self._hooks.plugins()),
        )

    async def _checks(self) -> dict[str, list[Check]]:
        answers = await self._hooks.call.health()
        own = [*self._own_checks(), self._config.check()]
        return {"runner": own, **{plugin: list(checks) for plugin, checks in answers.items()}}

    def _own_checks(self) -> list[Check]:
        stat = os.statvfs(self._state_dir)
        free_mb = stat.f_bavail * stat.f_frsize // 2**20
        return [
            Check(
                name="state directory",
                ok=os.access(self._state_dir, os.W_OK),
                detail=str(self._state_dir),
                repair=f"make {self._state_dir} writable for uid {os.getuid()}",
            ),
            Check(
                name="disk space",
                ok=free_mb > LOW_DISK_MB,
                detail=f"{free_mb} MiB free for event logs",
                repair=f"free some space on the disk of {self._state_dir}",
            ),
        ]

    async def _browse(self, path: str, *, show_hidden: bool) -> wire.Listing:
        try:
            async with asyncio.timeout(BROWSE_TIMEOUT_S):
                listing = await asyncio.to_thread(browse.listing, path, show_hidden=show_hidden)
        except TimeoutError as exc:
            raise Invalid(f"{path or 'the home'} did not answer within {BROWSE_TIMEOUT_S:g} s") from exc
        return msgspec.structs.replace(listing, refusal=workspaces.refusal(Path(listing.path)))

    async def _open_workspace(self, wanted: WorkspaceRequest) -> wire.Opened:
        workspace = await self._hooks.call.create_workspace(wanted)
        if workspace is None:
            raise Invalid(f"no plugin makes a workspace at {wanted.path}")
        return wire.Opened(workspace=workspace)

    def _shutdown(self, uid: int) -> None:
        if uid not in (0, os.getuid()):
            raise Forbidden(f"uid {uid} may not shut down the runner of uid {os.getuid()}")
        self._end()
