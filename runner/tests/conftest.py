from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from oqto_platform import canon, wire
from oqto_platform.types import Launch, Session, new_id

SCRIPT = Path(__file__).with_name("open_runner.py")
PATIENCE_S = 20.0


def is_alive(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class Follower:
    """What one reader of a session has received."""

    def __init__(self, reader, following):
        self.reader = reader
        self.following = following
        self.events = []

    async def next(self, timeout_s=PATIENCE_S):
        async with asyncio.timeout(timeout_s):
            line = await self.reader.readline()
        if not line:
            return None
        event = msgspec.json.decode(line)
        self.events.append(event)
        return event

    async def until(self, kind):
        """Read up to the next event of `kind` and return it."""
        while event := await self.next():
            if event["event"] == kind:
                return event
        raise AssertionError(f"the stream ended before {kind}: {[e['event'] for e in self.events]}")

    @property
    def kinds(self):
        return [event["event"] for event in self.events]

    @property
    def text(self):
        ends = [e["message"] for e in self.events if e["event"] == "stream.message_end"]
        return [
            p["text"]
            for m in ends
            if m["role"] == "assistant"
            for p in m.get("parts", ())
            if p["type"] == "text"
        ]


class Runner:
    """A runner process of this test, asked over its socket."""

    def __init__(self, tmp_path):
        self.socket = str(tmp_path / "r.sock")
        self.state = tmp_path / "state"
        self.workspace = tmp_path / "work"
        self.workspace.mkdir(exist_ok=True)
        self.log = tmp_path / "runner.log"
        self.process = None

    def arguments(self, *more):
        return ["--socket", self.socket, "--state-dir", str(self.state), "--runner-id", "test", *more]

    async def start(self, *more, env=None):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OQTO", "LISTEN", "NOTIFY"))}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), *self.arguments(*more)],
                env={**environment, "XDG_CONFIG_HOME": str(self.state / "none"), **(env or {})},
                stderr=log,
                stdout=log,
            )
        await self.answers()
        return self

    async def answers(self):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert self.process.poll() is None, self.log.read_text()
            try:
                return await self.call(wire.Hello())
            except Exception:
                assert time.monotonic() < deadline, self.log.read_text()
                await asyncio.sleep(0.02)

    async def call(self, request, timeout_s=PATIENCE_S):
        return await wire.call(self.socket, request, timeout_s=timeout_s)

    async def begin(self, session_id=None, *, workspace=None, harness="echo", env=None, resume=False):
        """Start a session and return its id."""
        session_id = session_id or new_id("ses")
        session = Session(
            id=session_id, account_id="acc_1", workspace=str(workspace or self.workspace), harness=harness
        )
        await self.call(wire.Start(session=session, launch=Launch(env=env or {}, resume=resume)))
        return session_id

    async def send(self, session_id, command):
        reply = await self.call(wire.Send(session_id=session_id, command=command))
        return msgspec.json.decode(reply.data)

    async def prompt(self, session_id, message, client_id=""):
        return await self.send(session_id, canon.Prompt(message=message, client_id=client_id))

    async def status(self, session_id):
        return await self.call(wire.Status(session_id=session_id))

    async def stop(self, session_id, reason="asked"):
        return await self.call(wire.Stop(session_id=session_id, reason=reason))

    @asynccontextmanager
    async def follow(self, session_id, after=0):
        async with wire.connect(self.socket, None) as (reader, writer):
            writer.write(wire.encode(wire.Follow(session_id=session_id, after=after)) + b"\n")
            yield Follower(reader, await wire.read_reply(reader))

    async def turn(self, session_id, message):
        """Prompt, wait for the end of the turn, return what the agent said."""
        status = await self.status(session_id)
        async with self.follow(session_id, status.seq) as follower:
            await self.prompt(session_id, message)
            await follower.until("agent.idle")
            return follower

    def folder(self, session_id):
        return self.state / "sessions" / session_id

    def logged(self, session_id):
        """Every event in the segments."""
        paths = sorted(self.folder(session_id).glob("events-*.jsonl"))
        return [msgspec.json.decode(line) for path in paths for line in path.read_bytes().splitlines()]

    def descriptors(self):
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_S)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()


@pytest.fixture
async def runner(tmp_path):
    """A running daemon with the echo harness and a confiner that lets everything through."""
    made = Runner(tmp_path)
    try:
        yield await made.start()
    finally:
        made.close()


@pytest.fixture
def new_runner(tmp_path):
    """A daemon that the test starts itself."""
    made = Runner(tmp_path)
    yield made
    made.close()


@pytest.fixture(name="is_alive")
def _is_alive():
    return is_alive
