"""
Whatever cuts the connection to the runner, the browser gets every event once and in order.

A real Unix socket speaks the wire; the runner behind it cuts lines in the middle, goes away, and loses its log.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from oqto_platform import wire
from oqto_platform.errors import NotFound
from oqto_platform.mux import follower as module
from oqto_platform.mux.follower import Follower
from oqto_platform.mux.outbox import Outbox
from oqto_platform.runners.client import RunnerClient
from oqto_platform.runners.registry import RunnerAddress
from oqto_platform.types import Principal, SessionId

SESSION = SessionId("ses_1")
LAST = '{"event":"last"}'


def line(seq: int) -> bytes:
    return json.dumps({"event": "notify", "seq": seq, "message": f"number {seq}"}).encode() + b"\n"


class FakeRunner:
    """Keeps `last` events; each connection is served by the next of `cuts`: so many bytes, then it hangs up."""

    def __init__(self, last: int, cuts: list[int], losses: dict[int, int]) -> None:
        self.last, self.cuts, self.losses = last, cuts, losses
        self.connections = 0
        self.generation = 0

    async def serve(self, reader, writer):
        request = wire.decode_request((await reader.readline()).rstrip())
        if self.connections in self.losses:
            self.last = self.losses[self.connections]
        cut = self.cuts[self.connections] if self.connections < len(self.cuts) else None
        self.connections += 1
        after = request.after
        is_exact = 0 < after <= self.last
        reply = wire.Following(mode="exact" if is_exact else "snapshot", last=self.last, reset=not is_exact)
        if cut is None:  # the last life: tell everything, then say that the session is gone
            self.is_over = True
        events = b"".join(line(seq) for seq in range((after if is_exact else 0) + 1, self.last + 1))
        writer.write(wire.encode(reply) + b"\n" + (events if cut is None else events[:cut]))
        await writer.drain()
        writer.close()

    is_over = False


async def follow(runner: FakeRunner, after: int) -> list[dict]:
    frames: list[dict] = []

    async def send(text: str) -> None:
        frames.append(json.loads(text))

    async def serve(reader, writer):
        if runner.is_over:
            await reader.readline()
            writer.write(wire.encode(wire.failed(NotFound("there is no such session"))) + b"\n")
            await writer.drain()
            writer.close()
        else:
            await runner.serve(reader, writer)

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "r.sock")
        server = await asyncio.start_unix_server(serve, path)
        address = RunnerAddress(socket=path, uid=0, principal=Principal(name="root", uid=0, home="/root"))
        client = RunnerClient(msgspec_uid(address), 5.0)
        outbox = Outbox(send)
        follower = Follower(client, SESSION, after, outbox)
        async with asyncio.timeout(20):
            await follower.open()
            await follower.relay()
            await outbox.send(LAST)
        server.close()
        await server.wait_closed()
    assert frames.pop() == json.loads(LAST)
    return frames


def msgspec_uid(address: RunnerAddress) -> RunnerAddress:
    import os

    import msgspec

    return msgspec.structs.replace(address, uid=os.getuid())


def shown(frames: list[dict], after: int) -> list[int]:
    """What a browser holds that started with events up to `after`: it forgets everything on a resync."""
    held = list(range(1, after + 1))
    for frame in frames:
        assert frame["channel"] == "agent"
        if frame["event"] == "stream.resync_required":
            held = []
        else:
            held.append(frame["seq"])
    return held


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(module, "BACKOFF_S", (0.0,))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 30).flatmap(lambda last: st.tuples(st.just(last), st.integers(0, last))),
    st.lists(st.integers(0, 800), max_size=6),
)
def test_any_cuts_leave_no_gap_and_no_double(last_and_after, cuts):
    last, after = last_and_after
    module.BACKOFF_S = (0.0,)
    frames = uvloop.run(follow(FakeRunner(last, cuts, {}), after))
    held = shown(frames, after) if after else shown(frames, 0)
    assert held == list(range(1, last + 1))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30),
    st.lists(st.integers(0, 800), min_size=1, max_size=5),
    st.dictionaries(st.integers(1, 5), st.integers(0, 40), max_size=3),
)
def test_a_runner_that_lost_its_log_is_told_again_from_the_start(last, cuts, losses):
    """The log may have grown past our place again by the time we come back: its numbers then mean something else."""
    module.BACKOFF_S = (0.0,)
    # A log that shrinks below our place was lost; one that only grew is the same log.
    sizes, current = {}, last
    for connection in range(1, len(cuts) + 1):
        if connection in losses:
            current = losses[connection]
            sizes[connection] = current
    runner = FakeRunner(last, cuts, sizes)
    frames = uvloop.run(follow(runner, 0))
    held = shown(frames, 0)
    assert held == list(range(1, runner.last + 1))
