"""From a session to a confined process that talks: plan, hooks `spawn` and `confine`, exec."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from oqto_platform.canon import Capabilities, SessionCreated
from oqto_platform.errors import Invalid, Unconfined
from oqto_platform.hooks import Hooks
from oqto_platform.types import ConfinedPlan, Launch, Session, SessionId, SpawnPlan
from oqto_runner import cgroup, process
from oqto_runner.agent import Agent
from oqto_runner.eventlog import EventLog
from oqto_runner.harness import Harness
from oqto_runner.store import SessionFolder
from oqto_runner.witness import Witness


class Launcher:
    """Starts agents of the registered `harnesses`. `changed` hears of what may change their state."""

    def __init__(
        self, hooks: Hooks, harnesses: Mapping[str, Harness], changed: Callable[[SessionId], None]
    ) -> None:
        self._hooks = hooks
        self._harnesses = harnesses
        self._changed = changed

    async def launch(
        self, folder: SessionFolder, session: Session, launch: Launch, events: EventLog
    ) -> tuple[Agent, ConfinedPlan]:
        """
        Start the process and its conversation.

        A failure leaves no process and no descriptor. Raises `Invalid`, `Unconfined`, `AgentFailed`,
        `DiskFull`, or what a plugin says.
        """
        harness = self._harness(session.harness)
        home = folder.agent_home()
        folder.keep(session)
        folder.keep(process.expected_footprint(session.id))
        with _group_made_meanwhile(session.id):
            plan = await self._planned(harness, session, launch, home)
            conversation = harness.conversation(session, launch, home)
            capabilities = harness.capabilities
            # From here to the exec nothing may fail: the confined plan holds descriptors.
            confined = await self._confined(session, plan)
        agent = Agent(
            session,
            conversation,
            events,
            _created(session, launch, confined, capabilities),
            Witness(self._hooks, session, self._changed),
        )
        started = await process.start(confined, session.id, agent.take_lines, agent.take_too_long)
        agent.run(started)
        try:
            folder.keep(process.footprint(started))
        except BaseException:  # by cancelling, too: a runner that comes back would not find this process
            await agent.stop("failed", "the runner could not keep note of it")
            raise
        return agent, confined

    def _harness(self, name: str) -> Harness:
        try:
            return self._harnesses[name]
        except KeyError:
            known = ", ".join(sorted(self._harnesses)) or "none"
            raise Invalid(f"harness {name!r} is not known to this runner; it has: {known}") from None

    async def _planned(self, harness: Harness, session: Session, launch: Launch, home: Path) -> SpawnPlan:
        plan = harness.plan(session, launch, home)
        missing = tuple(relay for relay in launch.relays if relay not in plan.relays)
        plan = msgspec.structs.replace(plan, relays=(*plan.relays, *missing))
        return await self._hooks.call.spawn(session, plan)

    async def _confined(self, session: Session, plan: SpawnPlan) -> ConfinedPlan:
        confined = await self._hooks.call.confine(session, plan)
        if confined is None:
            raise Unconfined(
                "no plugin of this runner confines agents, so none is started; install oqto-plugin-sandbox "
                "and restart the runner"
            )
        return confined


@contextmanager
def _group_made_meanwhile(session_id: SessionId) -> Iterator[None]:
    """The kernel takes as long for a control group as we for a plan. Without a plan nothing of it is left."""
    ready = asyncio.get_running_loop().run_in_executor(None, cgroup.make_ready, session_id)
    try:
        yield
    except BaseException:  # by cancelling, too: the thread makes the group whoever waits for it
        ready.add_done_callback(lambda _: cgroup.remove(session_id))
        raise


def _created(
    session: Session, launch: Launch, confined: ConfinedPlan, capabilities: Capabilities
) -> SessionCreated:
    return SessionCreated(
        harness=session.harness,
        resumed=launch.resume,
        provider=session.provider,
        model=session.model,
        confined_by=confined.confined_by,
        profile=confined.profile,
        network=confined.network,
        sandbox=confined.summary,
        capabilities=capabilities,
    )
