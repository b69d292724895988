"""The real pi against a scripted provider: what a person does, start to end."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import struct
import time
import zlib
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from oqto_runner.harness.pi import Pi, program

from oqto_platform import canon
from oqto_platform.errors import AgentFailed, OqtoError
from oqto_platform.testing.llm import ScriptedProvider

pytestmark = pytest.mark.real
PATIENCE_S = 30.0
TOOLS = Path(__file__).resolve().parents[3] / ".tools"


@pytest.fixture(autouse=True)
def real_pi(monkeypatch, tmp_path):
    """The installed pi, started from a home of its own so that the person's is seen to stay untouched."""
    bundled = TOOLS / "pi" / "node_modules" / ".bin" / "pi"
    if "OQTO_PI" not in os.environ and shutil.which("pi") is None and bundled.exists():
        monkeypatch.setenv("OQTO_PI", str(bundled))
    if "OQTO_NODE" not in os.environ and (TOOLS / "node" / "bin" / "node").exists():
        monkeypatch.setenv("OQTO_NODE", str(TOOLS / "node" / "bin" / "node"))
    try:
        program.find_program()
    except AgentFailed as exc:
        pytest.skip(exc.detail)


@pytest.fixture
def recent_pi(real_pi):
    """Pi 0.74 cannot clear its queue and trusts every project."""
    version = program.find_program().version
    if version < (0, 80):
        pytest.skip(f"pi {'.'.join(map(str, version))} cannot do this")


@pytest.fixture
def provider():
    with ScriptedProvider() as provider:
        yield provider


class Running:
    """A pi process and the talk with it, as the runner holds them."""

    def __init__(self, process, talk):
        self.process, self.talk = process, talk
        self.events: list = []
        self.answers: dict[int, asyncio.Future] = {}
        self.changed = asyncio.Event()
        self.token = 0

    def carry_out(self, step):
        self.events += step.events
        for line in step.lines:
            self.process.stdin.write(line + b"\n")
        for answer in step.answers:
            self.answers[answer.token].set_result(answer)
        self.changed.set()

    async def read(self):
        while line := await self.process.stdout.readline():
            self.carry_out(self.talk.receive(line.removesuffix(b"\n"), time.monotonic()))
        self.carry_out(self.talk.close(time.monotonic(), "pi ended"))

    async def tick(self):
        while True:
            await asyncio.sleep(0.25)
            self.carry_out(self.talk.tick(time.monotonic()))

    def send(self, command) -> asyncio.Future:
        self.token += 1
        future = self.answers[self.token] = asyncio.get_running_loop().create_future()
        self.carry_out(self.talk.command(self.token, command, time.monotonic()))
        return future

    async def do(self, command):
        """The data of the answer; raises its error."""
        async with asyncio.timeout(PATIENCE_S):
            answer = await self.send(command)
        if answer.error is not None:
            raise answer.error
        return answer.data

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def turn(self, message, **fields):
        """Send a prompt and wait for its idle; the events of it."""
        begin = len(self.events)
        await self.do(canon.Prompt(message=message, **fields))
        await self.until(lambda: any(isinstance(e, canon.AgentIdle) for e in self.events[begin:]))
        return self.events[begin:]

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def said(self):
        ends = [end.message for end in self.of(canon.MessageEnd) if end.message.role == "assistant"]
        return [text_of(message) for message in ends if message.parts]

    def asked(self):
        return [text_of(end.message) for end in self.of(canon.MessageEnd) if end.message.role == "user"]


def text_of(message):
    return "".join(part.text for part in message.parts if isinstance(part, canon.TextPart))


@pytest.fixture
def start(session, launch_with, home, provider):
    """Starts pi in the session's home and ends it again."""
    harness = Pi()

    @asynccontextmanager
    async def running(**options):
        launch = launch_with(provider.url, **options)
        plan = harness.plan(session, launch, home)
        process = await asyncio.create_subprocess_exec(
            *plan.argv,
            cwd=plan.cwd,
            env=dict(plan.env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=64 * 1024 * 1024,
            start_new_session=True,
        )
        pi = Running(process, harness.conversation(session, launch, home))
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(pi.read())
            ticking = tasks.create_task(pi.tick())
            pi.carry_out(pi.talk.open(time.monotonic()))
            try:
                yield pi
            finally:
                ticking.cancel()
                await end(process, reading)

    return running


async def end(process, reading):
    try:
        os.killpg(process.pid, signal.SIGTERM)
        async with asyncio.timeout(5):
            await process.wait()
    except (ProcessLookupError, TimeoutError):
        pass
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    await reading


def png(red, green, blue):
    """A picture of 8 by 8 points."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((red, green, blue)) * 8 for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + content).decode()


async def test_a_prompt_is_answered_with_thoughts_and_words(start):
    async with start() as pi:
        await pi.turn("[[think Let me see.]] [[say Hello there]]")
        assert pi.talk.is_ready
        assert not pi.talk.is_working
        assert "".join(event.delta for event in pi.of(canon.TextDelta)) == "Hello there"
        assert "".join(event.delta for event in pi.of(canon.ThinkingDelta)) == "Let me see."
        message = pi.of(canon.MessageEnd)[-1].message
        assert (message.model, message.provider, message.stop_reason) == ("fake-1", "proxy", "stop")
        assert message.usage.input_tokens > 0
        assert pi.of(canon.AgentIdle) == [canon.AgentIdle(stop_reason="stop")]


async def test_tools_work_in_the_workspace_and_stay_in_order(start, session):
    async with start() as pi:
        await pi.turn('[[tool bash {"command":"echo hi > out.txt; cat out.txt; cat missing"}]] [[say done]]')
        (ended,) = pi.of(canon.ToolEnd)
        assert Path(session.workspace, "out.txt").read_text() == "hi\n"
        assert ended.is_error
        assert "hi" in ended.output["content"][0]["text"]
        assert ended.duration_ms is not None
        assert pi.said()[-1] == "done"


async def test_steering_and_follow_ups_reach_the_agent_in_one_turn(start):
    async with start() as pi:
        work = pi.send(canon.Prompt(message='[[tool bash {"command":"sleep 1"}]] [[say never]]'))
        await pi.until(lambda: pi.of(canon.ToolStart))
        await pi.do(canon.FollowUp(message="then [[say followed]]"))
        await pi.do(canon.Steer(message="no, [[say steered]]"))
        await pi.until(lambda: pi.of(canon.AgentIdle))
        assert (await work).error is None
        assert [one for one in pi.said() if one] == ["steered", "followed"]
        assert len(pi.asked()) == 3
        assert len(pi.of(canon.AgentIdle)) == 1
        queues = [(event.steering, event.follow_up) for event in pi.of(canon.QueueChanged)]
        assert queues[-1] == ((), ())


@pytest.mark.parametrize("command", [canon.Steer, canon.FollowUp])
async def test_steering_an_idle_agent_starts_a_turn(start, command):
    async with start() as pi:
        await pi.do(command(message="[[say at once]]"))
        await pi.until(lambda: pi.of(canon.AgentIdle))
        assert pi.said() == ["at once"]


@pytest.mark.usefixtures("recent_pi")
async def test_abort_in_the_middle_of_words_ends_queued_messages_too(start, provider):
    async with start() as pi:
        await pi.do(canon.Prompt(message="[[slow 200 0.05]]"))
        await pi.until(lambda: pi.of(canon.TextDelta))
        await pi.do(canon.FollowUp(message="never [[say no]]"))
        assert await pi.do(canon.Abort()) == {"is_confirmed": True}
        await pi.until(lambda: pi.of(canon.AgentIdle))
        assert pi.of(canon.AgentIdle)[0].stop_reason == "aborted"
        assert not pi.of(canon.AgentError)
        await pi.turn("alive? [[say yes]]")
        assert pi.said()[-1] == "yes"
        assert "never" not in str(provider.requests[-1].body)


async def test_abort_in_the_middle_of_a_tool(start):
    async with start() as pi:
        await pi.do(canon.Prompt(message='[[tool bash {"command":"echo begun; sleep 60"}]] [[say never]]'))
        await pi.until(lambda: pi.of(canon.ToolProgress))
        await pi.do(canon.Abort())
        await pi.until(lambda: pi.of(canon.AgentIdle))
        (ended,) = pi.of(canon.ToolEnd)
        assert ended.is_error
        assert "begun" in ended.output["content"][0]["text"]
        assert not pi.of(canon.AgentError)


async def test_abort_right_after_the_prompt(start):
    async with start() as pi:
        await pi.until(lambda: pi.talk.is_ready)
        pi.send(canon.Prompt(message="[[slow 100 0.1]]"))
        pi.send(canon.Abort())
        await pi.until(lambda: pi.of(canon.AgentIdle) and not pi.talk.is_working)
        assert "w99" not in "".join(pi.said())


async def test_models_levels_and_names_can_be_changed(start):
    async with start() as pi:
        assert {"fake-1", "fake-2"} <= {one["id"] for one in (await pi.do(canon.GetModels()))["models"]}
        await pi.do(canon.SetThinkingLevel(level="high"))
        changed = await pi.do(canon.SetModel(provider="proxy", model_id="fake-2"))
        assert changed == {"provider": "proxy", "model_id": "fake-2"}
        assert pi.of(canon.ModelChanged)[-1].model_id == "fake-2"
        with pytest.raises(OqtoError, match="Model not found"):
            await pi.do(canon.SetModel(provider="proxy", model_id="nope"))
        await pi.do(canon.SetSessionName(name="demo"))
        assert pi.of(canon.TitleChanged)[-1].title == "demo"
        state = await pi.do(canon.GetState())
        assert (state["model_id"], state["title"], state["is_working"]) == ("fake-2", "demo", False)
        assert (await pi.do(canon.GetStats()))["tokens"]["total"] == 0
        assert "commands" in await pi.do(canon.GetCommands())


async def test_a_long_conversation_is_compacted(start):
    async with start() as pi:
        for number in range(3):
            await pi.turn(f"turn {number} {'many words ' * 12000} [[say ok]]")
        data = await pi.do(canon.Compact(instructions="be short"))
        assert data["tokens_before"] > 0
        (ended,) = pi.of(canon.CompactEnd)
        assert ended.success
        assert ended.summary
        assert isinstance(pi.events[-1], canon.AgentIdle)


async def test_going_back_to_a_message_forks_the_conversation(start):
    async with start() as pi:
        for number in ("one", "two", "three"):
            await pi.turn(f"{number} [[say {number}]]")
        points = (await pi.do(canon.GetForkPoints()))["points"]
        answer = await pi.do(canon.Fork(entry_id=points[1]["entry_id"]))
        assert answer["text"] == "two [[say two]]"
        changed = pi.of(canon.ConversationChanged)[-1]
        assert [text_of(message) for message in changed.messages] == ["one [[say one]]", "one"]
        await pi.turn("instead [[say other]]")
        told = msgspec.convert((await pi.do(canon.GetMessages()))["messages"], list[canon.Message])
        assert [text_of(message) for message in told][-2:] == ["instead [[say other]]", "other"]
        with pytest.raises(OqtoError, match="Invalid entry"):
            await pi.do(canon.Fork(entry_id="nope"))


async def test_conversations_can_be_left_and_come_back_to(start):
    async with start() as pi:
        await pi.turn("first [[say one]]")
        first = (await pi.do(canon.GetState()))["session_path"]
        await pi.do(canon.NewSession())
        assert pi.of(canon.ConversationChanged)[-1].messages == ()
        await pi.turn("second [[say two]]")
        await pi.do(canon.SwitchSession(session_path=first))
        assert text_of(pi.of(canon.ConversationChanged)[-1].messages[-1]) == "one"


async def test_an_image_reaches_the_model(start, provider):
    async with start() as pi:
        image = canon.Image(data=png(255, 0, 0), media_type="image/png")
        await pi.turn("what is it? [[say a red square]]", images=(image,))
        (message,) = [end.message for end in pi.of(canon.MessageEnd) if end.message.role == "user"]
        assert isinstance(message.parts[1], canon.ImagePart)
        assert "data:image/png;base64," in str(provider.requests[-1].body)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("[[error 401 9]]", "http-401", "does not accept the key"),
        ("[[error 400 9]]", "http-400", "answered with an error"),
    ],
)
async def test_a_provider_that_says_no_is_quoted(start, script, code, words):
    async with start() as pi:
        await pi.turn(f"{script} [[say never]]")
        (error,) = pi.of(canon.AgentError)
        assert (error.code, error.recoverable) == (code, True)
        assert words in error.error
        await pi.turn("[[say better]]")
        assert pi.said()[-1] == "better"


@pytest.mark.parametrize("script", ["[[error 503 1]]", "[[error 429 1]]"])
async def test_a_busy_provider_is_asked_again(start, script):
    async with start() as pi:
        await pi.turn(f"{script} [[say recovered]]")
        assert len(pi.of(canon.RetryStart)) == 1
        assert pi.of(canon.RetryEnd)[0].success
        assert pi.said()[-1] == "recovered"
        assert not pi.of(canon.AgentError)
        assert len(pi.of(canon.AgentIdle)) == 1


async def test_a_cut_connection_is_told_and_waiting_for_the_next_try_can_be_stopped(start):
    async with start() as pi:
        await pi.do(canon.Prompt(message="[[drop]]"))
        await pi.until(lambda: pi.of(canon.RetryStart))
        await pi.do(canon.AbortRetry())
        await pi.until(lambda: pi.of(canon.AgentIdle))
        (error,) = pi.of(canon.AgentError)
        assert "connection" in error.error
        assert pi.said() == ["partial "]


async def test_a_killed_pi_goes_on_where_it_was(start, home):
    async with start() as pi:
        await pi.turn("remember [[say noted]]")
        await pi.do(canon.Prompt(message="long [[slow 200 0.05]]"))
        await pi.until(lambda: len(pi.of(canon.TextDelta)) > 3)
        os.killpg(pi.process.pid, signal.SIGKILL)
        await pi.until(lambda: pi.of(canon.AgentError))
        half = pi.of(canon.MessageEnd)[-1].message
        assert half.stop_reason == "error"
        assert text_of(half).startswith("w0 ")
        assert isinstance(pi.events[-1], canon.AgentIdle)
    (file,) = (home / "pi" / "sessions").glob("*.jsonl")
    with file.open("a") as torn:
        torn.write('{"type":"message","id":"0000')
    async with start(resume=True) as pi:
        told = msgspec.convert((await pi.do(canon.GetMessages()))["messages"], list[canon.Message])
        assert [text_of(message) for message in told][:2] == ["remember [[say noted]]", "noted"]
        await pi.turn("still there? [[say yes]]")
    async with start(resume=True) as pi:
        told = msgspec.convert((await pi.do(canon.GetMessages()))["messages"], list[canon.Message])
        assert [text_of(message) for message in told][-2:] == ["still there? [[say yes]]", "yes"]
        assert {end.message.id for end in pi.of(canon.MessageEnd)}.isdisjoint({half.id})


async def test_a_resumed_conversation_keeps_the_model_that_was_chosen(start):
    async with start() as pi:
        await pi.do(canon.SetModel(provider="proxy", model_id="fake-2"))
        await pi.turn("[[say hi]]")
    async with start(resume=True) as pi:
        await pi.until(lambda: pi.talk.is_ready)
        assert pi.of(canon.ModelChanged)[-1].model_id == "fake-2"


async def test_a_fork_outlives_a_restart(start):
    async with start() as pi:
        for number in ("one", "two"):
            await pi.turn(f"{number} [[say {number}]]")
        points = (await pi.do(canon.GetForkPoints()))["points"]
        await pi.do(canon.Fork(entry_id=points[1]["entry_id"]))
    async with start(resume=True) as pi:
        told = msgspec.convert((await pi.do(canon.GetMessages()))["messages"], list[canon.Message])
        assert [text_of(message) for message in told] == ["one [[say one]]", "one"]


async def test_a_new_conversation_outlives_a_restart(start):
    async with start() as pi:
        await pi.turn("old [[say old]]")
        await pi.do(canon.NewSession())
    async with start(resume=True) as pi:
        assert (await pi.do(canon.GetMessages()))["messages"] == []
        await pi.turn("new [[say new]]")
        assert pi.said() == ["new"]


async def test_the_key_is_in_no_file_and_the_persons_own_pi_stays_untouched(
    start, home, monkeypatch, tmp_path
):
    person = tmp_path / "person"
    (person / ".pi" / "agent").mkdir(parents=True)
    (person / ".pi" / "agent" / "settings.json").write_text('{"defaultModel":"mine"}')
    monkeypatch.setattr("pwd.getpwuid", lambda uid: Person(str(person)))
    async with start() as pi:
        await pi.turn('[[tool bash {"command":"true"}]] [[say hi]]')
        await pi.do(canon.NewSession())
    files = [file for file in home.rglob("*") if file.is_file()]
    assert any(file.suffix == ".jsonl" for file in files)
    assert [file for file in files if b"vk-secret-1234" in file.read_bytes()] == []
    assert [str(file.relative_to(person)) for file in person.rglob("*") if file.is_file()] == [
        ".pi/agent/settings.json"
    ]


class Person:
    """The entry of a person in the system's list."""

    pw_name, pw_shell = "person", "/bin/bash"

    def __init__(self, home):
        self.pw_dir = home


@pytest.mark.usefixtures("recent_pi")
async def test_settings_of_a_cloned_project_are_not_trusted(start, session):
    project = Path(session.workspace, ".pi")
    (project / "extensions").mkdir(parents=True)
    (project / "settings.json").write_text('{"defaultModel":"fake-2","defaultProvider":"proxy"}')
    (project / "extensions" / "evil.ts").write_text(
        'import {writeFileSync} from "node:fs"; export default () => { writeFileSync("evil.txt", "ran"); };'
    )
    async with start() as pi:
        await pi.turn("[[say hi]]")
        assert pi.of(canon.ModelChanged)[-1].model_id == "fake-1"
        assert not Path(session.workspace, "evil.txt").exists()


async def test_a_flood_of_output_and_odd_characters_arrive_whole(start):
    words = "line \u2028 separator \u2029 and 🙂 " + "word " * 3000
    async with start() as pi:
        await pi.turn(f"[[say {words}]]")
        assert pi.said()[-1].strip() == words.strip()
