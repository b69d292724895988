"""An agent whose harness or process misbehaves."""

from __future__ import annotations

import asyncio

import pytest
from oqto_runner import agent as agents
from oqto_runner import process
from oqto_runner.agent import Agent
from oqto_runner.eventlog import EventLog
from oqto_runner.harness import Answer, Step
from oqto_runner.witness import Witness
from waiting import async_until

from oqto_platform import canon
from oqto_platform.errors import AgentFailed
from oqto_platform.hooks import Hooks
from oqto_platform.types import ConfinedPlan, Session, new_id


class Scripted:
    """A conversation that does what the test says."""

    is_ready = True
    is_working = False

    def __init__(self, **answers):
        self.answers = answers
        self.ticks = 0

    def open(self, now):
        return Step()

    def tick(self, now):
        self.ticks += 1
        return Step()

    def receive(self, line, now):
        if b"boom" in line:
            raise RuntimeError("the harness stumbles")
        return Step(events=(canon.Notify(message=line.decode()),))

    def command(self, token, command, now):
        if isinstance(command, canon.Abort):
            return Step(answers=(Answer(token=token),))
        return self.answers["command"](token)

    def close(self, now, cause):
        return Step()


@pytest.fixture
async def launch(tmp_path):
    started = []

    async def start(script, conversation):
        log = EventLog(tmp_path / "log", "ses_x", "r")
        session = Session(id=new_id("ses"), account_id="acc_1", workspace=str(tmp_path))
        created = canon.SessionCreated(harness="scripted")
        agent = Agent(
            session, conversation, log, created, Witness(Hooks("runner").checked(), session, lambda _: None)
        )
        plan = ConfinedPlan(argv=("/bin/sh", "-c", script), cwd=str(tmp_path), confined_by="nothing")
        agent.run(await process.start(plan, session.id, agent.take_lines, agent.take_too_long))
        started.append((agent, log))
        return agent, log

    yield start
    for agent, log in started:
        await agent.stop("asked")
        await log.close()


def events(tmp_path):
    lines = (tmp_path / "log" / "history.jsonl").read_bytes().splitlines()
    return [canon.decode_event(line) for line in lines]


async def test_a_stumbling_harness_is_told_and_the_session_lives(launch, tmp_path):
    agent, log = await launch("echo before; echo boom; echo after; exec sleep 60", Scripted())
    await async_until(lambda: log.last >= 4)
    told = [
        (type(e).__name__, getattr(e, "message", "") or getattr(e, "error", "")) for e in events(tmp_path)
    ]
    assert told == [
        ("SessionCreated", ""),
        ("Notify", "before"),
        ("AgentError", "the harness pi failed: the harness stumbles"),
        ("Notify", "after"),
    ]
    assert agent.state == "idle"


async def test_a_line_beyond_all_limits_is_dropped_and_told(launch, tmp_path):
    _, log = await launch(
        "head -c 70000000 /dev/zero | tr '\\0' x; echo; echo fine; exec sleep 60", Scripted()
    )
    await async_until(lambda: log.last >= 3)
    assert [type(e).__name__ for e in events(tmp_path)] == ["SessionCreated", "AgentError", "Notify"]


async def test_what_stands_after_the_last_newline_counts(launch, tmp_path):
    agent, _ = await launch("printf 'no newline'", Scripted())
    await agent.finished()
    assert [e.message for e in events(tmp_path) if isinstance(e, canon.Notify)] == ["no newline"]


async def test_a_command_without_answer_runs_out_of_time(launch):
    agent, _ = await launch("exec sleep 60", Scripted(command=lambda token: Step()))
    with pytest.raises(AgentFailed, match=r"did not answer get_state within 0\.05 s"):
        await agent.command(canon.GetState(), 0.05)


async def test_a_command_that_waits_is_answered_when_the_agent_dies(launch):
    agent, _ = await launch("sleep 0.3; exit 4", Scripted(command=lambda token: Step()))
    with pytest.raises(AgentFailed, match="exited with code 4"):
        await agent.command(canon.GetState(), 20)


async def test_an_agent_that_does_not_read_is_told_and_stalls_nobody(launch, monkeypatch):
    monkeypatch.setattr(process, "STDIN_LIMIT", 1_000_000)
    big = (b"x" * 900_000,)
    agent, _ = await launch(
        "exec sleep 60", Scripted(command=lambda token: Step(lines=big, answers=(Answer(token=token),)))
    )
    answers = [
        await asyncio.gather(agent.command(canon.GetState(), 20), return_exceptions=True) for _ in range(5)
    ]
    assert answers[0] == [None]
    assert "does not read its input" in str(answers[-1][0])


async def test_an_agent_that_never_answers_is_ended_with_its_last_words(launch, monkeypatch):
    monkeypatch.setattr(agents, "READY_TIMEOUT_S", 0.3)
    silent = Scripted()
    silent.is_ready = False
    agent, log = await launch("echo waiting for a key >&2; exec sleep 60", silent)
    with pytest.raises(AgentFailed, match=r"did not answer within 0\.3 s: waiting for a key"):
        await agent.ready()
    assert agent.process.exit_code is not None
    assert log.last == 0


async def test_time_passes_for_a_quiet_agent(launch):
    quiet = Scripted()
    await launch("exec sleep 60", quiet)
    await async_until(lambda: quiet.ticks >= 2)


async def test_descriptors_of_a_plan_are_passed_on_and_closed(tmp_path):
    import os

    read, write = os.pipe()
    os.write(write, b"secret environment")
    os.close(write)
    lines = []
    plan = ConfinedPlan(
        argv=("/bin/sh", "-c", f"cat /dev/fd/{read}"), cwd=str(tmp_path), fds=(read,), confined_by="x"
    )
    started = await process.start(plan, "ses_fd", lines.extend, lambda: None)
    async with asyncio.timeout(20):
        await started.ended_output.wait()
    await started.finish()
    assert lines == [b"secret environment"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)


async def test_a_program_that_is_missing_is_named_and_its_descriptors_closed(tmp_path):
    import os

    read, write = os.pipe()
    os.close(write)
    plan = ConfinedPlan(argv=("/no/such/program",), cwd=str(tmp_path), fds=(read,), confined_by="x")
    with pytest.raises(AgentFailed, match="cannot execute /no/such/program"):
        await process.start(plan, "ses_none", lambda _: None, lambda: None)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)
