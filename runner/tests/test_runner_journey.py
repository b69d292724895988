"""The whole way of a session through a real daemon and a real process."""

from __future__ import annotations

import asyncio
import os

import pytest
from waiting import async_until

from oqto_platform import canon, wire
from oqto_platform.errors import AgentFailed, Conflict, Invalid, NotFound
from oqto_platform.types import Launch, Session


async def test_a_prompt_becomes_events_in_order_and_an_ending(runner):
    session_id = await runner.begin()
    async with runner.follow(session_id) as follower:
        await runner.prompt(session_id, "hello dear world")
        await follower.until("agent.idle")
        await runner.stop(session_id)
        closed = await follower.until("session.closed")
    assert follower.kinds == [
        "session.created",
        "stream.message_end",
        "agent.working",
        "stream.message_start",
        *["stream.text_delta"] * 3,
        "stream.message_end",
        "agent.idle",
        "session.closed",
    ]
    assert [event["seq"] for event in follower.events] == list(range(1, 11))
    assert {event["session_id"] for event in follower.events} == {session_id}
    assert {event["runner_id"] for event in follower.events} == {"test"}
    assert follower.text == ["hello dear world "]
    assert closed["reason"] == "asked"
    assert follower.events[0]["confined_by"] == "nothing"


async def test_starting_twice_at_once_gives_one_process(runner):
    session = Session(id="ses_twice", account_id="acc_1", workspace=str(runner.workspace), harness="echo")
    start = wire.Start(session=session, launch=Launch())
    statuses = await asyncio.gather(*(runner.call(start) for _ in range(5)))
    assert len({status.pid for status in statuses}) == 1
    assert (await runner.call(start)).pid == statuses[0].pid
    assert [event["event"] for event in runner.logged("ses_twice")] == ["session.created"]


async def test_a_repeated_message_has_one_effect_even_after_a_restart(runner):
    session_id = await runner.begin()
    await asyncio.gather(*(runner.prompt(session_id, "once", "c1") for _ in range(3)))
    async with runner.follow(session_id) as follower:
        await follower.until("agent.idle")
    await runner.stop(session_id)
    await runner.begin(session_id, resume=True)
    await runner.prompt(session_id, "once", "c1")
    runner.kill()
    await runner.start()
    await runner.begin(session_id, resume=True)
    await runner.prompt(session_id, "once", "c1")
    users = [
        e
        for e in runner.logged(session_id)
        if e["event"] == "stream.message_end" and e["message"]["role"] == "user"
    ]
    assert len(users) == 1


async def test_a_message_that_failed_may_be_sent_again(runner):
    session_id = await runner.begin()
    await runner.stop(session_id)
    with pytest.raises(Conflict, match="resume the session"):
        await runner.prompt(session_id, "again", "c9")
    await runner.begin(session_id, resume=True)
    await runner.prompt(session_id, "again", "c9")
    async with runner.follow(session_id) as follower:
        await follower.until("agent.idle")
    assert follower.text == ["again "]


async def test_resuming_keeps_the_log_and_the_agents_home(runner):
    session_id = await runner.begin()
    (runner.folder(session_id) / "agent" / "kept").write_text("x")
    await runner.stop(session_id)
    await runner.begin(session_id, resume=True)
    events = runner.logged(session_id)
    assert [event["event"] for event in events] == ["session.created", "session.closed", "session.created"]
    assert events[-1]["resumed"] is True
    assert (runner.folder(session_id) / "agent" / "kept").exists()


async def test_everything_of_a_session_is_private_and_goes_with_it(runner):
    session_id = await runner.begin()
    await runner.turn(session_id, "hi")
    folder = runner.folder(session_id)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
    assert {mode for name, mode in modes.items() if name in (session_id, "agent")} == {0o700}
    assert {mode for name, mode in modes.items() if name not in (session_id, "agent")} == {0o600}
    await runner.call(wire.Delete(session_id=session_id))
    assert not folder.exists()
    with pytest.raises(NotFound):
        await runner.status(session_id)


async def test_the_agent_has_exactly_the_planned_environment(runner):
    session_id = await runner.begin(env={"GIVEN": "yes"})
    assert (await runner.turn(session_id, "env GIVEN")).text == ["yes"]
    assert (await runner.turn(session_id, "env XDG_CONFIG_HOME")).text == ["(not set)"]
    assert (await runner.turn(session_id, "env OQTO_SESSION_ID")).text == [session_id]


async def test_a_crash_is_told_with_its_code_and_last_words(runner):
    session_id = await runner.begin()
    async with runner.follow(session_id) as follower:
        await runner.prompt(session_id, "crash 3")
        closed = await follower.until("session.closed")
    assert closed["reason"] == "failed"
    assert closed["detail"] == "exited with code 3"
    assert closed["exit_code"] == 3
    assert "crashing as asked" in closed["stderr_tail"]
    assert follower.kinds[-3:] == ["agent.error", "agent.idle", "session.closed"]
    await async_until(lambda: runner.logged(session_id)[-1]["event"] == "session.closed")
    status = (await runner.call(wire.List())).sessions[0]
    assert (status.state, status.outcome.detail) == ("dead", "exited with code 3")
    await runner.stop(session_id)
    assert (await runner.call(wire.List())).sessions == []


async def test_a_killed_agent_is_explained(runner):
    session_id = await runner.begin()
    async with runner.follow(session_id) as follower:
        await runner.prompt(session_id, "kill")
        closed = await follower.until("session.closed")
    assert closed["detail"] == "killed by signal 9 (SIGKILL): perhaps out of memory"


async def test_a_question_is_asked_and_answered(runner):
    session_id = await runner.begin()
    async with runner.follow(session_id) as follower:
        await runner.prompt(session_id, "ask")
        needed = await follower.until("agent.input_needed")
        status = await runner.status(session_id)
        assert (status.state, status.idle_s) == ("waiting", 0)
        request_id = needed["request"]["request_id"]
        await runner.send(session_id, canon.InputResponse(request_id=request_id, confirmed=True))
        await follower.until("agent.idle")
    assert follower.text == ["you said yes"]
    assert (await runner.status(session_id)).state == "idle"


async def test_noise_and_separators_of_unicode_do_not_break_lines(runner):
    session_id = await runner.begin()
    assert (await runner.turn(session_id, "noise")).text == ["done"]
    assert (await runner.turn(session_id, "a\u2028b\x85c")).text == ["a\u2028b\x85c "]


async def test_a_title_reaches_the_status_and_survives(runner):
    session_id = await runner.begin()
    await runner.turn(session_id, "title A walk in the park")
    assert (await runner.status(session_id)).title == "A walk in the park"
    runner.kill()
    await runner.start()
    assert (await runner.status(session_id)).outcome.reason == "interrupted"


async def test_an_abort_overtakes_a_flood(runner):
    session_id = await runner.begin()
    async with runner.follow(session_id) as follower:
        await runner.prompt(session_id, "flood 200000")
        await follower.until("stream.text_delta")
        await runner.send(session_id, canon.Abort())
        await follower.until("agent.idle")
    ended = [e for e in follower.events if e["event"] == "stream.message_end"][-1]
    assert ended["message"]["stop_reason"] == "aborted"
    assert [e["seq"] for e in follower.events] == list(range(1, len(follower.events) + 1))


async def test_messages_during_a_turn_wait_and_keep_the_session_awake(runner):
    session_id = await runner.begin()
    async with runner.follow(session_id) as follower:
        await runner.prompt(session_id, "stream 5 20")
        await runner.prompt(session_id, "second")
        await follower.until("agent.idle")
        await follower.until("agent.idle")
    assert follower.text[-1] == "second "


@pytest.mark.parametrize(
    ("session_id", "harness", "error", "words"),
    [
        ("../../etc", "echo", Invalid, "session_id"),
        ("ses_x", "nope", Invalid, "harness 'nope' is not known"),
    ],
)
async def test_a_start_that_cannot_be_says_why(runner, session_id, harness, error, words):
    with pytest.raises(error, match=words):
        await runner.begin(session_id, harness=harness)
    assert (await runner.call(wire.List())).sessions == []


async def test_a_workspace_that_is_gone_is_named_and_leaves_nothing(runner, tmp_path):
    before = runner.descriptors()
    with pytest.raises(Invalid, match="missing does not exist"):
        await runner.begin(workspace=tmp_path / "missing")
    await async_until(lambda: runner.descriptors() <= before, "closing of descriptors")
    assert (await runner.call(wire.List())).sessions == []


async def test_commands_to_an_unknown_session_and_unknown_commands(runner):
    with pytest.raises(Conflict, match="does not run"):
        await runner.prompt("ses_unknown", "hi")
    session_id = await runner.begin()
    with pytest.raises(AgentFailed, match="cannot do compact"):
        await runner.send(session_id, canon.Compact())
    with pytest.raises(NotFound):
        async with runner.follow("ses_unknown"):
            pass


async def test_hello_and_health(runner):
    hello = await runner.call(wire.Hello())
    assert (hello.runner_id, hello.uid, hello.pid) == ("test", os.getuid(), runner.process.pid)
    assert "echo" in hello.harnesses
    assert {"builtin", "pass_through"} <= {plugin.name for plugin in hello.plugins}
    checks = (await runner.call(wire.Health())).checks["runner"]
    assert [check.name for check in checks if check.ok] == ["state directory", "disk space", "config"]
