"""The sandboxes of one process: what runs outside on behalf of each, made with it and ended with it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from oqto_platform.canon import Event
from oqto_platform.types import ConfinedPlan, Relay, SpawnPlan, ToolCall
from oqto_plugin_sandbox import launch, limits, scan, stubs
from oqto_plugin_sandbox.denials.judging import Held
from oqto_plugin_sandbox.denials.voice import Voice
from oqto_plugin_sandbox.egress.proxy import PORT, EgressProxy
from oqto_plugin_sandbox.egress.rules import Decision
from oqto_plugin_sandbox.known import Known
from oqto_plugin_sandbox.plan.render import Vanished
from oqto_plugin_sandbox.policy.load import Owner, load, stamps
from oqto_plugin_sandbox.policy.model import Policy
from oqto_plugin_sandbox.watch import Stamps, Watch

PLANS = 3
PROXY_ADDRESS = f"http://127.0.0.1:{PORT}"
PROXY_ENV = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), PROXY_ADDRESS),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1"),
    "NODE_USE_ENV_PROXY": "1",
}  # fmt: skip


class _Attached(msgspec.Struct, kw_only=True):
    stated: Stamps
    """The policy files from before they were read."""
    proxy: EgressProxy | None
    groups: limits.Groups
    before: scan.Before | None
    held: list[stubs.Held] = msgspec.field(default_factory=list)
    voice: Voice | None = None
    watch: Watch | None = None
    waiting: list[str] = msgspec.field(default_factory=list)
    """Warnings from before the session had a log."""


def own_places(env: Mapping[str, str]) -> tuple[str, ...]:
    """Folders of Oqto itself that the environment moved away from their usual places below the home."""
    named = [env.get(name, "") for name in ("OQTO__PATHS__DATA_DIR", "OQTO__PATHS__STATE_DIR")]
    bases = [env.get(name, "") for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")]
    paths = [*named, *(f"{base}/oqto" for base in bases if base)]
    return tuple(sorted({os.path.normpath(path) for path in paths if path.startswith("/")}))


class Sandboxes:
    """
    `note(name, decision)` hears of every decision of an egress proxy, `report(name, event, detail)` of what
    people should know: a denial with a gap, a name left behind. `tell(name, event)` adds to the log of a
    session. `private` is hidden from every agent.
    """

    def __init__(
        self,
        owner: Owner,
        state_dir: Path,
        note: Callable[[str, Decision], None],
        private: tuple[str, ...] = (),
        report: Callable[[str, str, str], None] = lambda name, event, detail: None,  # noqa: ARG005
        tell: Callable[[str, Event], object] = lambda name, event: None,  # noqa: ARG005
    ) -> None:
        self.owner = owner
        self._private = private
        self._state_dir = state_dir
        self._note = note
        self._report = report
        self._tell = tell
        self._attached: dict[str, _Attached] = {}
        self._stubs = stubs.Stubs(state_dir / "reserved")
        self._known = Known(state_dir / "workspaces")

    async def confine(self, name: str, workspace: str, spawn: SpawnPlan) -> ConfinedPlan:
        """Confine one process. The policy files are read now, so a change holds from the next start on."""
        workspace = launch.real_workspace(workspace)
        stated = stamps(self.owner, workspace)
        policy = await asyncio.to_thread(load, self.owner, workspace)
        if not policy.enabled:
            return launch.unconfined(spawn)
        policy = replace(policy, deny_read=tuple(sorted({*policy.deny_read, *self._private})))
        await self.ended(name)
        self._known.add(workspace)
        proxy = await self._proxy(name, policy)
        attached = _Attached(
            stated=stated,
            proxy=proxy,
            groups=limits.make_groups(policy.limits, name),
            before=scan.before(workspace, (*policy.allow_write, *policy.extra_rw_bind)),
        )
        self._attached[name] = attached
        try:
            spawn = self._with_proxy(name, spawn, proxy)
            confined = await asyncio.to_thread(self._launch, name, policy, workspace, spawn, attached)
        except BaseException:  # by cancelling, too: what was attached would outlive a session that never was
            await self.ended(name)
            raise
        for gap in attached.waiting:
            self._report(name, "denial has a gap", gap)
        return confined

    def _launch(
        self, name: str, policy: Policy, workspace: str, spawn: SpawnPlan, attached: _Attached
    ) -> ConfinedPlan:
        """Programs outside replace files all the time: what vanished between plan and mount is planned again."""
        for _ in range(PLANS - 1):
            with suppress(Vanished):
                return self._launch_once(name, policy, workspace, spawn, attached)
        return self._launch_once(name, policy, workspace, spawn, attached)

    def _launch_once(
        self, name: str, policy: Policy, workspace: str, spawn: SpawnPlan, attached: _Attached
    ) -> ConfinedPlan:
        nested, who = self._known.below(workspace), self.owner
        cage = launch.design(policy, workspace, spawn, who.home, who.uid, reserves=True, nested=nested)
        attached.waiting = list(cage.plan.notes)
        self._stubs.give_back(attached.held)
        attached.held = self._stubs.hold(cage.plan.reserved)
        groups = attached.groups
        rlimits = tuple(limits.stand_ins(policy.limits, groups.missing))
        if attached.voice is not None:
            attached.voice.close()
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        attached.voice = Voice(_held(cage), groups, reading, partial(self._tell, name))
        attached.watch = Watch(self.owner, workspace, attached.stated, cage.plan)
        try:
            held = {"groups": groups.entries, "causes": groups.causes, "cpu_time": groups.cpu_time}
            return launch.launch(replace(cage, **held, rlimits=rlimits, report=writing))
        finally:
            os.close(writing)

    def begun(self, name: str) -> None:
        """The session has a log now: what had to be said before is said."""
        if (attached := self._attached.get(name)) is not None and attached.voice is not None:
            for message in attached.waiting:
                attached.voice.warn(message)
            attached.waiting.clear()

    async def heard(self, name: str, call: ToolCall) -> None:
        """A tool of the agent has ended: explain what the policy kept it from."""
        if (attached := self._attached.get(name)) is not None and (voice := attached.voice) is not None:
            voice.say(await asyncio.to_thread(voice.heard, call), call.id)
            self._look_outside(name, attached)

    def _look_outside(self, name: str, attached: _Attached) -> None:
        """Nobody may believe that a stricter policy, or a mask that is gone, holds in a sandbox that runs."""
        if attached.watch is None or attached.voice is None:
            return
        for change in attached.watch.changes():
            self._report(name, change.event, change.path)
            attached.voice.warn(change.sentence)

    async def gone(self, name: str) -> None:
        """The agent is gone and its log still open: what its sandbox saw last, and what the agent left behind."""
        if (attached := self._attached.get(name)) is not None and attached.voice is not None:
            attached.voice.last_words()
            for finding in await self._scanned(name, attached):
                attached.voice.warn(f"{finding.sentence}. Look at it first.")

    async def _scanned(self, name: str, attached: _Attached) -> list[scan.Finding]:
        """What the agent left behind; told to the audit log, once."""
        before, attached.before = attached.before, None
        found = await asyncio.to_thread(scan.found, before) if before else []
        for finding in found:
            self._report(name, finding.event, finding.path)
        return found

    async def ended(self, name: str) -> None:
        """Give back what belonged to a sandbox; harmless when asked again or for an unknown name."""
        attached = self._attached.pop(name, None)
        if attached is None:
            return
        if attached.proxy is not None:
            await attached.proxy.close()
        attached.groups.remove()
        self._stubs.give_back(attached.held)
        await self._scanned(name, attached)
        if attached.voice is not None:
            attached.voice.close()

    async def close(self) -> None:
        for name in list(self._attached):
            await self.ended(name)

    async def _proxy(self, name: str, policy: Policy) -> EgressProxy | None:
        if policy.network.mode != "proxy":
            return None
        path = self._socket(name)
        proxy = EgressProxy(policy.network, partial(self._decided, name))
        await proxy.start(path)
        return proxy

    def _decided(self, name: str, decision: Decision) -> None:
        self._note(name, decision)
        if (attached := self._attached.get(name)) is not None and attached.voice is not None:
            attached.voice.decided(decision)

    def _socket(self, name: str) -> str:
        return str(self._state_dir / f"out-{name}.sock")

    def _with_proxy(self, name: str, spawn: SpawnPlan, proxy: EgressProxy | None) -> SpawnPlan:
        if proxy is None:
            return spawn
        relay = Relay(port=PORT, socket=self._socket(name))
        return replace(spawn, env={**spawn.env, **PROXY_ENV}, relays=(*spawn.relays, relay))


def _held(cage: launch.Cage) -> Held:
    return Held(
        policy=cage.policy,
        plan=cage.plan,
        workspace=cage.request.workspace,
        home=cage.env["HOME"],
        relays=tuple(port for port, _ in cage.relays),
    )
