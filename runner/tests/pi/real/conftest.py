"""A real pi and a scripted provider."""

from __future__ import annotations

import asyncio
import base64
import contextlib
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
from oqto_platform.errors import AgentFailed
from oqto_platform.testing.llm import ScriptedProvider

PATIENCE_S = 30.0
TOOLS = Path(__file__).resolve().parents[4] / ".tools"


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

    @staticmethod
    def text_of(message):
        return "".join(part.text for part in message.parts if isinstance(part, canon.TextPart))

    async def history(self):
        told = (await self.do(canon.GetMessages()))["messages"]
        return [self.text_of(message) for message in msgspec.convert(told, list[canon.Message])]

    def said(self):
        ends = [end.message for end in self.of(canon.MessageEnd) if end.message.role == "assistant"]
        return [self.text_of(message) for message in ends if message.parts]

    def asked(self):
        return [self.text_of(end.message) for end in self.of(canon.MessageEnd) if end.message.role == "user"]


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
    """SIGTERM, and SIGKILL when that does not help."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            os.killpg(process.pid, sig)
            async with asyncio.timeout(5):
                await process.wait()
    await process.wait()
    await reading


@pytest.fixture
def red_square():
    """A picture, as base64."""
    return png(255, 0, 0)


def png(red, green, blue):
    """A picture of 8 by 8 points."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((red, green, blue)) * 8 for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + content).decode()
