"""What prepares an agent program runs beside the sessions and can do them no harm."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from oqto_runner.rehearsal import Rehearsals
from waiting import async_until

from oqto_platform import ConfinedPlan, hookimpl
from oqto_platform.errors import AgentFailed
from oqto_platform.hooks import Hooks
from oqto_platform.types import SpawnPlan


class Door:
    """Confines by nothing, and keeps account."""

    def __init__(self):
        self.entered, self.left = [], []

    @hookimpl
    def confine(self, session, plan):
        self.entered.append(session.id)
        return ConfinedPlan(argv=plan.argv, cwd=plan.cwd, env=plan.env, confined_by="nothing", profile="test")

    @hookimpl
    def session_stopped(self, session):
        self.left.append(session.id)


class Bystander:
    """Would take a rehearsal for a session that it never heard of."""

    def __init__(self):
        self.told = []

    @hookimpl
    def session_stopped(self, session):
        self.told.append(session.id)


class Rehearser:
    name = "rehearser"

    def __init__(self, code):
        self.code, self.kept = code, 0

    def rehearsal(self, workspace):
        if self.code is None:
            raise AgentFailed("not installed")
        return SpawnPlan(argv=(sys.executable, "-c", self.code), cwd=workspace)

    def keep_rehearsal(self):
        self.kept += 1


@pytest.fixture
def door():
    return Door()


@pytest.fixture
def bystander():
    return Bystander()


@pytest.fixture
def rehearsals(door, bystander):
    plugins = {"door": door, "bystander": bystander}
    return Rehearsals(Hooks.load("runner", builtins=plugins, only=("door",)))


async def over(rehearsals):
    async with asyncio.timeout(60):
        while rehearsals._running is not None:
            await asyncio.sleep(0.01)


async def test_a_run_that_ends_well_is_kept_and_not_repeated(rehearsals, door, bystander):
    harness = Rehearser("import sys; sys.exit(len(sys.stdin.read()))")
    rehearsals.begin(harness)
    await over(rehearsals)
    rehearsals.begin(harness)
    assert harness.kept == 1
    assert door.entered == door.left == ["rehearsal-rehearser"]
    assert bystander.told == []


@pytest.mark.parametrize("code", ["raise SystemExit(3)", None])
async def test_a_run_that_fails_is_not_kept(rehearsals, code):
    harness = Rehearser(code)
    rehearsals.begin(harness)
    await over(rehearsals)
    assert harness.kept == 0


async def test_the_end_of_the_runner_ends_it(rehearsals, door, tmp_path):
    note = tmp_path / "pid"
    harness = Rehearser(f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    rehearsals.begin(harness)
    await async_until(lambda: note.exists() and note.read_text())
    await rehearsals.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
    assert harness.kept == 0
    assert door.left == ["rehearsal-rehearser"]
