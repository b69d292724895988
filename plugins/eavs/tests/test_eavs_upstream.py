"""The client pool against servers that misbehave on purpose."""

from __future__ import annotations

import asyncio
import ssl
import subprocess

import pytest
from oqto_plugin_eavs.upstream import Pool, Timeouts, UpstreamFailed, Url
from waiting import async_until

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
FAST = Timeouts(connect_s=2.0, first_byte_s=0.3, total_s=0.6)


class Server:
    """Says what `script` tells it, one list entry per request and connection; `None` closes, a number waits."""

    def __init__(self, *script, context=None):
        self.script, self.context, self.connections, self.heads = list(script), context, 0, []
        self.tasks = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0, ssl=self.context)
        port = self.server.sockets[0].getsockname()[1]
        self.url = Url.of(f"{'https' if self.context else 'http'}://127.0.0.1:{port}/v1/x")
        self.pool = Pool(timeouts=FAST)
        return self

    async def __aexit__(self, *_):
        self.pool.close()
        self.server.close()
        await self.server.wait_closed()
        while self.tasks:
            for task in self.tasks:
                task.cancel()
            await asyncio.wait(self.tasks)
        await asyncio.sleep(0.02)

    def accept(self, reader, writer):
        task = asyncio.create_task(self.answer(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer(self, reader, writer):
        self.connections += 1
        try:
            while self.script:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                for step in self.script.pop(0):
                    if step is None:
                        return
                    if isinstance(step, float):
                        await asyncio.sleep(step)
                    else:
                        writer.write(step)
                        await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def get(self):
        reply = await self.pool.request("GET", self.url, [], b"")
        try:
            parts = []
            while (part := await reply.chunk()) is not None:
                parts.append(part)
            return reply.status, b"".join(parts)
        finally:
            reply.close()


async def test_a_connection_is_used_again():
    async with Server([OK], [OK], [OK]) as server:
        assert [await server.get() for _ in range(3)] == [(200, b"hi")] * 3
        assert server.connections == 1


async def test_replies_of_every_shape_follow_each_other_on_one_connection():
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    trailed = chunked + b"1\r\nh\r\n1;x=y\r\ni\r\n0\r\ntrailer: t\r\n\r\n"
    said = [OK, early, trailed, OK, chunked + b"2\r\nhi\r\n0\r\n\r\n", early, OK]
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with Server(*[[reply] for reply in said], [empty], [OK]) as server:
        assert [await server.get() for _ in said] == [(200, b"hi")] * len(said)
        assert await server.get() == (204, b"")
        assert await server.get() == (200, b"hi")
        assert server.connections == 1


async def test_a_kept_connection_that_the_peer_closed_costs_a_silent_retry():
    async with Server([OK], [None], [OK]) as server:
        assert await server.get() == (200, b"hi")
        assert await server.get() == (200, b"hi")
        assert server.connections == 2


async def test_a_fresh_connection_that_breaks_is_not_tried_again():
    async with Server([None], [OK]) as server:
        with pytest.raises(UpstreamFailed) as failed:
            await server.get()
        assert failed.value.was_sent
        assert server.connections == 1


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\ntrailer: t\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi",
    ],
)
async def test_the_shapes_of_a_reply(said):
    pieces = [said[at : at + 1] for at in range(len(said))]
    async with Server([said, None], [*pieces, None]) as server:
        assert await server.get() == (200, b"hi")
        assert await server.get() == (200, b"hi")


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01 not http\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000,
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    ],
)
async def test_a_reply_that_cannot_be_trusted_fails(said):
    async with Server([said, None]) as server:
        with pytest.raises(UpstreamFailed):
            await server.get()


async def test_bytes_after_a_reply_do_not_poison_the_next():
    async with Server([OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", None], [OK]) as server:
        assert await server.get() == (200, b"hi")
        assert await server.get() == (200, b"hi")
        assert server.connections == 2


async def test_time_outs_are_told_apart():
    async with Server([2.0], [OK[:-1], 2.0]) as server:
        with pytest.raises(UpstreamFailed, match="did not begin to answer") as first:
            await server.get()
        assert first.value.is_timeout
        with pytest.raises(UpstreamFailed, match="did not finish"):
            await server.get()


async def test_a_cancelled_request_closes_its_connection():
    async with Server([2.0]) as server:
        server.pool.timeouts = Timeouts()
        task = asyncio.create_task(server.get())
        await async_until(lambda: server.heads)
        connection = next(iter(server.pool._origins))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
        assert connection.transport is None
        assert not server.pool._origins


class Listener:
    """A reader with room for everything."""

    on_full = None

    async def drained(self):
        pass


async def test_a_quiet_stream_says_so_and_goes_on():
    async with Server([OK[:-2], 0.2, b"hi"]) as server:
        heard, listener = [], Listener()
        reply = await server.pool.request("GET", server.url, [], b"")
        await reply.pump(heard.append, listener, 0.05)
        assert heard[0] == b""
        assert b"".join(heard) == b"hi"
        assert listener.on_full is None
        reply.close()


async def test_a_provider_that_falls_silent_is_ended():
    async with Server([OK[:-2], 2.0]) as server:
        server.pool.timeouts = Timeouts(silence_s=0.2)
        reply = await server.pool.request("GET", server.url, [], b"")
        with pytest.raises(UpstreamFailed, match=r"said nothing for 0\.2 s"):
            await reply.pump(lambda _: None, Listener(), 60)
        reply.close()


async def test_what_the_sink_raises_ends_the_reply():
    def refuse(data):
        raise KeyError(data)

    async with Server([OK[:-1], 2.0]) as server:
        reply = await server.pool.request("GET", server.url, [], b"")
        with pytest.raises(KeyError):
            await reply.pump(refuse, Listener(), 60)
        assert reply.transport is not None
        reply.close()
        assert reply.transport.is_closing()


async def test_a_full_reader_stops_the_provider():
    async with Server([b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 2**25, None]) as server:
        heard, listener = [], Listener()
        server.pool.timeouts = Timeouts()
        reply = await server.pool.request("GET", server.url, [], b"")

        def take(data):
            heard.append(len(data))
            if len(heard) == 3:
                listener.on_full(True)

        pumping = asyncio.create_task(reply.pump(take, listener, 60))
        await asyncio.sleep(0.3)
        assert len(heard) <= 4
        listener.on_full(False)
        await pumping
        assert sum(heard) == 2**25
        reply.close()


async def test_certificates_are_checked(tmp_path):
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    made += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    async with Server([OK], context=context) as server:
        with pytest.raises(UpstreamFailed, match="certificate"):
            await server.get()
        server.pool = Pool(ca_file=str(tmp_path / "cert.pem"), timeouts=FAST)
        assert await server.get() == (200, b"hi")


async def test_the_proxy_of_the_environment_is_used(monkeypatch):
    seen = []

    async def accept(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{port}")
    pool = Pool(timeouts=FAST)
    reply = await pool.request("GET", Url.of("http://provider.invalid/v1/models"), [], b"")
    assert reply.status == 200
    assert seen[0].startswith(b"CONNECT provider.invalid:80 ")
    assert b"proxy-authorization: Basic bWU6c2VjcmV0" in seen[0]
    assert b"proxy-authorization" not in seen[1]
    reply.close()
    pool.close()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.02)
