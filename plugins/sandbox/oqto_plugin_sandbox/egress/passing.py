"""
What passes between an agent and a server that the proxy has let it reach.

A tunnel passes everything both ways. A plain connection passes one request with exactly its body: whatever
comes after it was judged by nobody, so it goes nowhere, and the reply says that the connection ends with it.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple

from oqto_plugin_sandbox.egress.requests import Denied, Plain

IDLE_S = 600.0
CHUNK = 256 * 1024
MAX_TRAILERS = 32 * 1024

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1[0-9][0-9][ \r\n]")


class Ends(NamedTuple):
    """One side of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def pass_all(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Until the source ends; its end is passed on."""
    while data := await _read(source, CHUNK):
        await _write(target, data)
    if target.can_write_eof():
        target.write_eof()


async def tunnel(near: Ends, far: Ends) -> None:
    """Everything, unread, until both sides have ended or one went away."""
    near.writer.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(pass_all(near.reader, far.writer))
            both.create_task(pass_all(far.reader, near.writer))
    except* (OSError, TimeoutError):
        pass  # the answer has begun, so there is nothing left to say


class Exchange:
    """One request of `near` and the whole reply to it."""

    def __init__(self, near: Ends, far: Ends) -> None:
        self._near, self._far = near, far
        self._is_answered = False

    async def run(self, plain: Plain) -> None:
        """Raises `Denied`, `OSError` or `TimeoutError` only while nothing was answered."""
        failed: Exception | None = None
        self._far.writer.write(plain.head)
        try:
            async with asyncio.TaskGroup() as both:
                asking = both.create_task(_pass_request(self._near.reader, self._far.writer, plain.length))
                await self._pass_reply()
                asking.cancel()
        except* (Denied, OSError, TimeoutError) as group:
            failed = group.exceptions[0]
        if failed is not None and not self._is_answered:
            raise failed

    async def _pass_reply(self) -> None:
        source, target = self._far.reader, self._near.writer
        line = await _line(source, "502 Bad Gateway")
        self._is_answered = True
        while _INTERIM.match(line):
            while line.strip():
                await _write(target, line)
                line = await _line(source, "502 Bad Gateway")
            await _write(target, line)
            line = await _line(source, "502 Bad Gateway")
        # Beside any other word of the server: `close` is the one that counts (RFC 9112, section 9.3).
        await _write(target, line + b"Connection: close\r\n")
        await pass_all(source, target)


async def _pass_request(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, length: int | None
) -> None:
    if length is None:
        await _pass_chunks(source, target)
    else:
        await _pass_bytes(source, target, length)
    while await _read(source, CHUNK):
        pass  # its end has to be noticed, and a writer that nobody reads would stall
    if target.can_write_eof():
        target.write_eof()


async def _pass_bytes(source: asyncio.StreamReader, target: asyncio.StreamWriter, left: int) -> None:
    while left:
        if not (data := await _read(source, min(CHUNK, left))):
            raise Denied("400 Bad Request", "the body is shorter than announced")
        await _write(target, data)
        left -= len(data)


async def _pass_chunks(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Written anew, without extensions and trailers, so that no two readers disagree about where the body ends."""
    while size := _chunk_size(await _line(source)):
        target.write(b"%x\r\n" % size)
        await _pass_bytes(source, target, size)
        if await _line(source) != b"\r\n":
            raise Denied("400 Bad Request", "a chunk is longer than announced")
        target.write(b"\r\n")
    left = MAX_TRAILERS
    while (line := await _line(source)) != b"\r\n":
        left -= len(line)
        if left < 0:
            raise Denied("400 Bad Request", "the body ends with too many trailers")
    await _write(target, b"0\r\n\r\n")


def _chunk_size(line: bytes) -> int:
    if (found := _CHUNK_LINE.fullmatch(line)) is None:
        raise Denied("400 Bad Request", "a chunk without its size")
    return int(found[1], 16)


async def _line(source: asyncio.StreamReader, status: str = "400 Bad Request") -> bytes:
    try:
        async with asyncio.timeout(IDLE_S):
            return await source.readuntil(b"\n")
    except asyncio.IncompleteReadError as exc:
        raise Denied(status, "the connection ended in the middle of a message") from exc
    except asyncio.LimitOverrunError as exc:
        raise Denied(status, "a line that is too long") from exc


async def _read(source: asyncio.StreamReader, most: int) -> bytes:
    async with asyncio.timeout(IDLE_S):
        return await source.read(most)


async def _write(target: asyncio.StreamWriter, data: bytes) -> None:
    target.write(data)
    async with asyncio.timeout(IDLE_S):
        await target.drain()
