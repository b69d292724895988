"""Sessions under crashes: the core dies at every single await, plugins and runner fail, and money stays right."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from session_world import (
    ADA,
    Core,
    Stage,
    nothing,
    on_first,
    one_dead,
    one_idle,
    one_running,
    one_settled,
    one_unsettled,
    round_,
    shutdown,
    start,
)

from oqto_platform.errors import OqtoError

SCENES = {
    "start": (nothing, start),
    "stop": (one_running, on_first("stop")),
    "stop what died": (one_dead, on_first("stop")),
    "resume": (one_settled, on_first("resume")),
    "resume what was not settled": (one_unsettled, on_first("resume")),
    "delete": (one_running, on_first("delete")),
    "delete what is over": (one_settled, on_first("delete")),
    "round, all well": (one_running, round_),
    "round, agent dead": (one_dead, round_),
    "round, agent idle": (one_idle, round_),
    "round, unsettled": (one_unsettled, round_),
    "shutdown": (one_running, shutdown),
}
FAULTS = (
    "refused", "reserve", "reserve.late", "agent", "start", "start.late", "stop", "stop.late", "status", "list",
    "settle", "settle.late", "delete.late",
)  # fmt: skip


@pytest.fixture
def stage():
    stages = []

    def make():
        stages.append(Stage())
        return stages[-1]

    yield make
    for made in stages:
        made.close()


@pytest.mark.parametrize("scene", SCENES)
def test_the_core_may_die_at_every_step(stage, scene):
    prepare, call = SCENES[scene]
    for crash_at in itertools.count(1):
        played = stage()
        prepare(played)
        core = Core(played.world, crash_at)
        played.play(core, call)
        played.settle_down()
        try:
            played.check()
        except AssertionError as exc:
            exc.add_note(f"after a crash at step {crash_at} of {scene!r}")
            raise
        if not core.is_dead:
            break
    assert crash_at > 3


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_is_made_good_later(stage, scene, fault):
    prepare, call = SCENES[scene]
    played = stage()
    prepare(played)
    played.play(Core(played.world, faults=frozenset({fault})), call)
    played.settle_down()
    played.check()


@pytest.mark.parametrize(
    "fault", [("start.late", "stop"), ("start.late", "stop.late"), ("start.late", "stop", "settle")]
)
def test_a_start_whose_answer_was_lost_leaves_no_agent_behind(stage, fault):
    played = stage()
    played.play(Core(played.world, faults=frozenset(fault)), start)
    played.settle_down()
    played.check()
    assert not played.world.processes


@pytest.mark.parametrize("verb", ["stop", "delete", "shutdown"])
@pytest.mark.parametrize("wait", range(1, 40, 3))
def test_a_session_may_be_ended_while_it_starts(stage, verb, wait):
    """Two requests at once: the second comes at any moment of the first."""
    played = stage()
    core = Core(played.world)

    async def act():
        starting = asyncio.create_task(start(core))
        for _ in range(wait):
            await asyncio.sleep(0)
        with suppress(OqtoError):
            await (shutdown(core) if verb == "shutdown" else on_first(verb)(core))
        with suppress(OqtoError):
            await starting

    played.loop.run(act())
    played.settle_down()
    played.check()
    assert {row.state for row in played.world.rows().values()} <= {"settled"} or wait < 5


@pytest.mark.parametrize("wait", range(1, 40, 3))
def test_a_session_may_be_resumed_while_it_is_stopped(stage, wait):
    played = stage()
    one_running(played)
    core = Core(played.world)

    async def act():
        stopping = asyncio.create_task(on_first("stop")(core))
        for _ in range(wait):
            await asyncio.sleep(0)
        with suppress(OqtoError):
            await on_first("resume")(core)
        await stopping

    played.loop.run(act())
    for row in played.world.rows().values():
        if row.state == "running":
            assert played.world.wallets[row.id].is_open, "it runs on a wallet that was settled"
            assert played.world.processes[row.id].is_alive, "it runs without a process"
    played.settle_down()
    played.check()


@pytest.mark.parametrize("wait", range(1, 40, 3))
def test_a_start_whose_browser_leaves_ends_what_it_began(stage, wait):
    played = stage()
    core = Core(played.world)

    async def act():
        starting = asyncio.create_task(start(core))
        for _ in range(wait):
            await asyncio.sleep(0)
        starting.cancel()
        with suppress(OqtoError, asyncio.CancelledError):
            await starting

    played.loop.run(act())
    played.settle_down()
    played.check()


class SessionLives(RuleBasedStateMachine):
    """Any sequence of starts, stops, resumes, deletions, deaths and rounds, with faults and crashes in each."""

    trouble = st.tuples(
        st.none() | st.integers(min_value=1, max_value=30),
        st.frozensets(st.sampled_from(FAULTS), max_size=2),
    )

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()

    def teardown(self) -> None:
        self.stage.settle_down()
        self.stage.check()
        self.stage.close()

    def act(self, trouble, call) -> None:
        crash_at, faults = trouble
        self.stage.play(Core(self.stage.world, crash_at, faults), call)

    def pick(self, number) -> str | None:
        rows = list(self.stage.world.rows())  # in the order of their starts: ids are not the same in a replay
        return rows[number % len(rows)] if rows else None

    @rule(trouble=trouble)
    def start_one(self, trouble):
        self.act(trouble, start)

    @rule(trouble=trouble, number=st.integers(0, 5), verb=st.sampled_from(["stop", "resume", "delete"]))
    @precondition(lambda self: self.stage.world.rows())
    def do(self, trouble, number, verb):
        name = self.pick(number)
        self.act(trouble, lambda core: getattr(core.sessions, verb)(ADA, name))

    @rule(trouble=trouble)
    def reconcile(self, trouble):
        self.act(trouble, round_)

    @rule(number=st.integers(0, 5))
    @precondition(lambda self: self.stage.world.processes)
    def the_agent_spends(self, number):
        names = list(self.stage.world.processes)
        self.stage.world.spend(names[number % len(names)])

    @rule(number=st.integers(0, 5))
    @precondition(lambda self: self.stage.world.processes)
    def the_agent_dies(self, number):
        names = list(self.stage.world.processes)
        self.stage.world.kill_agent(names[number % len(names)])

    @rule()
    def the_runner_loses_everything(self):
        self.stage.world.processes.clear()

    @rule(seconds=st.sampled_from([1, 50, 200]))
    def time_passes(self, seconds):
        self.stage.world.now += seconds

    @rule()
    def calm_down(self):
        self.stage.settle_down()
        self.stage.check()

    @invariant()
    def no_row_says_settled_while_money_is_open(self):
        for name, row in self.stage.world.rows().items():
            wallet = self.stage.world.wallets.get(name)
            assert not (row.state == "settled" and wallet and wallet.is_open)


SessionLives.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestSessionLives = SessionLives.TestCase
