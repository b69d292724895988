"""A follower passes every event on once and in order, whether events share a frame or not."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from oqto_platform import wire
from oqto_platform.errors import NotFound
from oqto_platform.mux.follower import Follower
from oqto_platform.mux.outbox import Outbox
from oqto_platform.runners.stream import EventStream


class Runner:
    """Hands out `chunks`, cut wherever they are cut, and then the session is gone."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks: list[bytes] | None = chunks

    @asynccontextmanager
    async def follow(self, _session_id: str, after: int):
        if self.chunks is None:
            raise NotFound("no such session")
        chunks, self.chunks = self.chunks, None
        stream = EventStream()
        stream.connection_made(Transport())
        asked = asyncio.create_task(stream.ask(b""))
        stream.data_received(b"reply\n")
        await asked
        asyncio.get_running_loop().call_soon(arrive, stream, chunks)
        yield wire.Following(mode="exact", last=after), stream


def arrive(stream: EventStream, chunks: list[bytes]) -> None:
    for chunk in chunks:
        stream.data_received(chunk)
    stream.connection_lost(None)


class Transport(asyncio.Transport):
    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return False


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_every_event_comes_once_and_in_order(lines, size):
    whole = b"".join(b'{"event":"x","seq":%d,"text":"a\\nb"}\n' % n for n in range(1, 40))
    sent: list[str] = []

    async def send(text: str) -> None:
        await asyncio.sleep(0)
        sent.append(text)

    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    outbox = Outbox(send)
    follower = Follower(Runner(chunks), "ses_1", 0, outbox, lines=lines)
    await follower.open()
    await follower.relay()
    await outbox.send('{"event":"last","channel":"agent","seq":40}')
    frames = [json.loads(line) for text in sent for line in text.split("\n")]
    assert [frame["seq"] for frame in frames] == list(range(1, 41))
    assert {frame["channel"] for frame in frames} == {"agent"}
    assert lines or len(sent) == len(frames)
    assert not (lines and size > len(whole)) or len(sent) == 2


async def test_a_line_without_end_ends_the_connection_before_it_fills_the_memory():
    stream, cut = EventStream(), []
    stream.connection_made(SimpleNamespace(is_closing=lambda: False, abort=lambda: cut.append(True)))
    part = b"x" * (wire.LIMIT // 4)
    for _ in range(4):
        stream.data_received(part)
    assert not cut
    stream.data_received(b"x")
    assert cut
