"""Our client pool reads any server as aiohttp does, or refuses where aiohttp refuses."""

from __future__ import annotations

import asyncio
import random

import aiohttp
import pytest
from oqto_plugin_eavs.upstream import Pool, Timeouts, UpstreamFailed, Url

HEADS = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 404 Not Found\r\n",
    b"HTTP/1.1 529 \r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 201 Created\r\n",
]
FIELDS = [
    b"",
    b"X-A:  spaced  \r\n",
    b"Content-Type: text/event-stream\r\nx-a: 1\r\nX-A: 2\r\n",
    b"x-empty:\r\n",
]
BODIES = [
    b"content-length: 5\r\n\r\nhello",
    b"content-length: 0\r\n\r\n",
    b"Content-Length: 70000\r\n\r\n" + b"y" * 70_000,
    b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"Transfer-Encoding: Chunked\r\n\r\n3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\nx-trailer: t\r\n\r\n",
    b"connection: close\r\n\r\nuntil the end",
    b"connection: close\r\ncontent-length: 2\r\n\r\nhi",
    b"\r\n",
]
BROKEN = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ncontent-len",
    b"HTTP/1.1 2x0 OK\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"",
]


class Teller:
    """Answers every connection with `said`, in pieces of random size, and closes."""

    async def __aenter__(self):
        self.said, self.random = b"", random.Random(7)
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1/x"
        self.pool = Pool(timeouts=Timeouts(first_byte_s=5, total_s=10))
        self.session = aiohttp.ClientSession(auto_decompress=False, trust_env=False)
        return self

    async def __aexit__(self, *_):
        self.pool.close()
        await self.session.close()
        self.server.close()
        await asyncio.sleep(0.02)

    async def answer(self, reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            at = 0
            while at < len(self.said):
                size = self.random.choice([1, 3, 7, 40, 9_000, 200_000])
                writer.write(self.said[at : at + size])
                at += size
                if len(self.said) < 1_000:
                    await asyncio.sleep(0)
            await writer.drain()
        finally:
            writer.close()

    async def ours(self):
        try:
            reply = await self.pool.request("GET", Url.of(self.url), [], b"")
        except UpstreamFailed:
            return "failed"
        parts = []
        try:
            while (part := await reply.chunk()) is not None:
                parts.append(part)
            return reply.status, sorted(reply.headers), b"".join(parts)
        except UpstreamFailed:
            return "failed"
        finally:
            reply.close()

    async def theirs(self):
        try:
            async with self.session.get(self.url) as reply:
                body = await reply.read()
                return reply.status, sorted((n.lower(), v) for n, v in reply.raw_headers), body
        except aiohttp.ClientError:
            return "failed"


@pytest.mark.parametrize("head", HEADS)
async def test_what_both_read(head):
    async with Teller() as teller:
        for fields in FIELDS:
            for body in BODIES:
                teller.said = head + fields + body
                ours, theirs = await teller.ours(), await teller.theirs()
                assert ours == theirs, teller.said[:200]
                assert ours != "failed"


@pytest.mark.parametrize("said", BROKEN)
async def test_what_both_refuse(said):
    async with Teller() as teller:
        teller.said = said
        assert (await teller.ours(), await teller.theirs()) == ("failed", "failed")
