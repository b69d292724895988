"""`sessions.idle_timeout_minutes` and `idle_check_interval_seconds`, also when they change while a session runs."""

from __future__ import annotations

import pytest
from session_world import Core, Stage, one_running

from oqto_platform import config
from oqto_platform.config.live import Live

MINUTE = 60


@pytest.fixture
def stage(monkeypatch):
    stage = Stage()
    one_running(stage)
    yield stage
    stage.close()


@pytest.fixture
def core(stage, tmp_path, monkeypatch):
    """A core with a file of settings: `core.say(text)` changes it."""
    path = tmp_path / "config.toml"
    core = Core(stage.world)
    core.reconciler._live = live = Live(config.load(None, {"HOME": "/home/ada"}), lambda n: config.load(path, {"HOME": "/"}, generation=n))  # fmt: skip
    monkeypatch.setattr("oqto_platform.sessions.reconcile.monotonic", lambda: stage.world.now)

    def say(text):
        path.write_text(f"[sessions]\n{text}\n")
        live.reload()

    core.say = say
    return core


def is_running_after(stage, core, *, idle_s, passed_s=0):
    """Let time pass with an idle agent, then make the round that comes every few seconds."""
    stage.world.now += passed_s
    for process in stage.world.processes.values():
        process.idle_s = idle_s
    stage.loop.run(core.reconciler.round())
    return bool(stage.world.processes)


def test_by_default_thirty_minutes_looked_at_every_five(stage, core):
    assert is_running_after(stage, core, idle_s=30 * MINUTE)
    assert is_running_after(stage, core, idle_s=31 * MINUTE, passed_s=299), "not looked at yet"
    assert not is_running_after(stage, core, idle_s=31 * MINUTE, passed_s=1)


def test_a_shorter_time_holds_for_a_session_that_runs_already(stage, core):
    assert is_running_after(stage, core, idle_s=10 * MINUTE)
    core.say("idle_timeout_minutes = 9")
    assert not is_running_after(stage, core, idle_s=10 * MINUTE, passed_s=300)


def test_a_longer_time_saves_one_that_would_have_ended(stage, core):
    core.say("idle_timeout_minutes = 120")
    assert is_running_after(stage, core, idle_s=119 * MINUTE, passed_s=300)


def test_a_shorter_interval_looks_sooner(stage, core):
    assert is_running_after(stage, core, idle_s=0)
    core.say("idle_check_interval_seconds = 5")
    assert not is_running_after(stage, core, idle_s=31 * MINUTE, passed_s=5)
