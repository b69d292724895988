"""A follower passes every event on once and in order, whether events share a frame or not."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from oqto_platform import wire
from oqto_platform.errors import NotFound
from oqto_platform.mux.follower import Follower


class Runner:
    """Hands out `chunks`, cut wherever they are cut, and then the session is gone."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks: list[bytes] | None = chunks

    @asynccontextmanager
    async def follow(self, _session_id: str, after: int):
        if self.chunks is None:
            raise NotFound("no such session")
        chunks, self.chunks = self.chunks, None
        yield wire.Following(mode="exact", last=after), Reader(chunks)


class Reader:
    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    async def read(self, _limit: int) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_every_event_comes_once_and_in_order(lines, size):
    whole = b"".join(b'{"event":"x","seq":%d,"text":"a\\nb"}\n' % n for n in range(1, 40))
    sent: list[str] = []

    async def send(text: str) -> None:
        await asyncio.sleep(0)
        sent.append(text)

    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    follower = Follower(Runner(chunks), "ses_1", 0, send, lines=lines)
    await follower.open()
    await follower.relay()
    frames = [json.loads(line) for text in sent for line in text.split("\n")]
    assert [frame["seq"] for frame in frames] == list(range(1, 40))
    assert {frame["channel"] for frame in frames} == {"agent"}
    assert lines or len(sent) == len(frames)
    assert not (lines and size > len(whole)) or len(sent) == 1
