"""Nothing of an agent outlives its end, however it hides, and whoever dies first."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest
from oqto_runner import procfs
from waiting import async_until

from oqto_platform import canon, wire
from oqto_platform.errors import AgentFailed, Conflict, NotFound, RunnerUnavailable
from oqto_platform.types import Launch, Session


@pytest.fixture(params=["cgroup", "no cgroup"])
async def ladder(request, new_runner):
    """A runner that may use control groups, and one that may not."""
    return await new_runner.start(env={"OQTO_TEST_NO_CGROUP": "1"} if request.param == "no cgroup" else None)


@pytest.mark.parametrize("how", ["", "hidden"])
async def test_children_end_with_the_session(ladder, is_alive, how):
    session_id = await ladder.begin()
    child = int((await ladder.turn(session_id, f"spawn {how}".strip())).text[-1])
    assert is_alive(child)
    await ladder.stop(session_id)
    assert not is_alive(child)


async def test_hidden_children_end_when_the_agent_dies_by_itself(ladder, is_alive):
    session_id = await ladder.begin()
    child = int((await ladder.turn(session_id, "spawn hidden")).text[-1])
    await ladder.prompt(session_id, "kill")
    async with ladder.follow(session_id) as follower:
        await follower.until("session.closed")
    await async_until(lambda: not is_alive(child), "the end of the child")


async def test_children_of_one_session_do_not_end_with_another(ladder, is_alive):
    first, second = await ladder.begin(), await ladder.begin()
    mine = int((await ladder.turn(first, "spawn hidden")).text[-1])
    await ladder.stop(second)
    assert is_alive(mine)
    await ladder.stop(first)
    assert not is_alive(mine)


async def test_an_agent_deaf_to_everything_is_killed(ladder, is_alive):
    session_id = await ladder.begin()
    async with ladder.follow(session_id) as follower:
        await ladder.prompt(session_id, "hang")
        await follower.until("stream.text_delta")
        pid = (await ladder.status(session_id)).pid
        await ladder.stop(session_id, "idle")
        closed = await follower.until("session.closed")
    assert not is_alive(pid)
    assert (closed["reason"], closed["exit_code"]) == ("idle", -9)
    assert follower.kinds[-4:] == ["stream.message_end", "agent.error", "agent.idle", "session.closed"]


async def test_no_zombie_and_no_descriptor_stays(runner):
    before = runner.descriptors()
    for _ in range(5):
        session_id = await runner.begin()
        await runner.turn(session_id, "spawn hidden")
        await runner.stop(session_id)
    await async_until(lambda: runner.descriptors() <= before + 1, "closing of descriptors")
    await async_until(lambda: not zombies_of(runner.process.pid), "reaping")


def zombies_of(parent):
    return [proc for proc in procfs.table().values() if proc.is_zombie and proc.parent == parent]


async def test_sigterm_ends_all_sessions_at_once_and_in_time(runner, is_alive):
    ids = [await runner.begin() for _ in range(4)]
    for session_id in ids:
        await runner.prompt(session_id, "hang")
    pids = [(await runner.status(session_id)).pid for session_id in ids]
    assert runner.terminate() == 0
    assert not any(map(is_alive, pids))
    for session_id in ids:
        assert runner.logged(session_id)[-1]["reason"] == "shutdown"
    assert not Path(runner.socket).exists()


async def test_an_ending_is_told_after_a_restart_until_the_core_took_note(runner):
    session_id = await runner.begin()
    runner.terminate()
    await runner.start()
    status = await runner.status(session_id)
    assert (status.state, status.outcome.reason) == ("dead", "shutdown")
    await runner.stop(session_id)
    with pytest.raises(NotFound):
        await runner.status(session_id)


async def test_a_killed_runner_repairs_its_log_and_ends_what_it_left(ladder, is_alive):
    runner = ladder
    session_id = await runner.begin()
    child = int((await runner.turn(session_id, "spawn hidden")).text[-1])
    async with runner.follow(session_id) as follower:
        await runner.prompt(session_id, "hang")
        await follower.until("agent.idle")
        await follower.until("stream.text_delta")
    pid = (await runner.status(session_id)).pid
    seen = follower.events
    runner.kill()
    await runner.start()
    await async_until(lambda: not is_alive(pid) and not is_alive(child), "the end of the leftovers")
    async with runner.follow(session_id, after=seen[-1]["seq"]) as resumed:
        assert resumed.following.mode == "exact"
        closed = await resumed.until("session.closed")
    told = [event["seq"] for event in seen + resumed.events]
    assert told[-8:] == list(range(closed["seq"] - 7, closed["seq"] + 1))
    assert closed["reason"] == "interrupted"
    assert resumed.kinds == ["agent.error", "agent.idle", "session.closed"]
    assert (await runner.status(session_id)).outcome.reason == "interrupted"
    await runner.stop(session_id)
    assert (await runner.call(wire.List())).sessions == []


async def test_a_later_runner_finds_a_group_in_the_hierarchy_where_it_was_made(runner, is_alive):
    session_id = await runner.begin()
    child = int((await runner.turn(session_id, "spawn bare")).text[-1])
    runner.kill()
    await runner.start(env={"OQTO_TEST_NO_CGROUP": "1"})
    await async_until(lambda: not is_alive(child), "the end of the child")


async def test_what_a_runner_made_that_died_before_it_knew_the_number_is_ended(new_runner, is_alive):
    runner = await new_runner.start(env={"OQTO_TEST_DIE_AFTER_EXEC": "1"})
    with pytest.raises(RunnerUnavailable):
        await runner.begin("ses_early")
    assert runner.process.wait(timeout=10) == -signal.SIGKILL
    left = subprocess.Popen(["sleep", "600"], env={"OQTO_SESSION_ID": "ses_early"})
    await runner.start()
    await async_until(lambda: not is_alive(left.pid), "the end of what it left")
    assert left.wait() == -signal.SIGKILL


async def test_stopping_what_is_starting_ends_it(runner, is_alive, tmp_path):
    session = Session(id="ses_slow", account_id="acc_1", workspace=str(runner.workspace), harness="echo")
    start = asyncio.ensure_future(runner.call(wire.Start(session=session, launch=Launch())))
    await asyncio.sleep(0.01)
    await runner.stop("ses_slow")
    try:
        status = await start
    except Conflict:
        status = None
    assert status is None or not is_alive(status.pid)
    assert (await runner.call(wire.List())).sessions == []


async def test_stop_is_harmless_for_what_does_not_run(runner):
    assert isinstance(await runner.stop("ses_never"), wire.Done)
    session_id = await runner.begin()
    await asyncio.gather(*(runner.stop(session_id) for _ in range(3)))
    assert [e["event"] for e in runner.logged(session_id)].count("session.closed") == 1


async def test_only_the_owner_shuts_down_and_sessions_end(runner, is_alive):
    session_id = await runner.begin()
    pid = (await runner.status(session_id)).pid
    await runner.call(wire.Shutdown())
    assert runner.process.wait(timeout=10) == 0
    assert not is_alive(pid)


async def test_it_ends_by_itself_when_nobody_needs_it(new_runner):
    await new_runner.start("--idle-exit-s", "0.5")
    session_id = await new_runner.begin()
    await asyncio.sleep(1.2)
    assert new_runner.process.poll() is None
    await new_runner.stop(session_id)
    await async_until(lambda: new_runner.process.poll() is not None, "the end")
    assert new_runner.process.returncode == 0


async def test_a_stopped_agent_is_ended_and_takes_no_command(runner):
    session_id = await runner.begin()
    os.kill((await runner.status(session_id)).pid, signal.SIGSTOP)
    await runner.stop(session_id)
    with pytest.raises(Conflict, match="resume the session"):
        await runner.send(session_id, canon.GetState())


async def test_a_session_whose_process_cannot_run_leaves_nothing(runner):
    before = runner.descriptors()
    with pytest.raises(AgentFailed, match=r"did not start: exited with code 7: no model today"):
        await runner.begin("ses_bad", env={"ECHO_FAIL": "no model today"})
    assert (await runner.call(wire.List())).sessions == []
    await async_until(lambda: runner.descriptors() <= before, "closing of descriptors")
    assert runner.logged("ses_bad") == []
