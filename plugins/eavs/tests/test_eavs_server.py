"""The door for agents, spoken to byte by byte."""

from __future__ import annotations

import asyncio
import json

import pytest
from oqto_plugin_eavs import server as server_module
from oqto_plugin_eavs.server import Server
from waiting import async_until

POST = b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"
LENGTH = [(b"content-type", b"text/plain")]


class Door:
    """A server whose handler answers with what it got."""

    async def __aenter__(self):
        self.seen, self.ended = [], []
        self.server = Server(self.handle)
        await self.server.listen("127.0.0.1", 0)
        self.port = self.server._listeners[0].sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await asyncio.sleep(0.02)

    async def handle(self, request):
        self.seen.append(request)
        if request.path == "/hang":
            try:
                await asyncio.sleep(30)
            finally:
                self.ended.append(request.has_left)
        if request.path == "/refuse":
            request.answer(413, LENGTH, b"no")
            return
        if request.path == "/fail":
            raise ValueError("a bug")
        parts = []
        while (part := await request.chunk()) is not None:
            parts.append(part)
        if request.path == "/stream":
            request.begin(200, LENGTH)
            for part in (b"one", b"", b"two"):
                request.put(part)
            request.end()
            return
        request.answer(200, LENGTH, request.query + b"|" + b"".join(parts))

    async def say(self, *pieces, until=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.005)
        heard = b""
        while not until or until not in heard:
            data = await asyncio.wait_for(reader.read(65536), 5)
            if not data:
                break
            heard += data
        writer.close()
        return heard


async def test_a_request_in_single_bytes():
    async with Door() as door:
        head = POST.replace(b"/x", b"/x%20y?q=1")
        heard = await door.say(*[head[at : at + 1] for at in range(len(head))], until=b"|hi")
        assert heard.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (door.seen[0].path, door.seen[0].query) == ("/x y", b"q=1")


async def test_requests_that_follow_at_once_are_answered_in_order():
    async with Door() as door:
        asked = b"".join(POST.replace(b"/x", b"/x?%d" % number) for number in range(20))
        heard = await door.say(asked, until=b"19|hi")
        assert [part.split(b"|")[0] for part in heard.split(b"\r\n\r\n")[1:]] == [
            b"%d" % n for n in range(20)
        ]


async def test_a_chunked_upload_and_a_chunked_reply():
    async with Door() as door:
        asked = b"POST /stream HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        heard = await door.say(asked, until=b"0\r\n\r\n")
        assert heard.endswith(b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_an_old_client_gets_a_reply_that_ends_with_the_connection():
    async with Door() as door:
        heard = await door.say(b"POST /stream HTTP/1.0\r\ncontent-length: 0\r\n\r\n")
        assert heard.endswith(b"connection: close\r\n\r\nonetwo")


async def test_the_body_is_asked_for_when_the_client_waits_for_that():
    async with Door() as door:
        head = b"POST /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        assert await door.say(head, until=b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_a_refusal_reaches_a_client_that_is_still_sending():
    async with Door() as door:
        head = b"POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n"
        heard = await door.say(head + b"x" * 100_000, *[b"x" * 100_000] * 5)
        assert heard.startswith(b"HTTP/1.1 413 ")
        assert heard.endswith(b"connection: close\r\n\r\nno")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"\x16\x03\x01\x02\x00", b"400"),
        (b"POST /x HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi", b"400"),
        (b"POST /x HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST /x HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
        (b"POST /x HTTP/1.1\r\nx: " + b"y" * 400_000, b"431"),
        (b"POST /" + b"y" * 400_000, b"431"),
    ],
)
async def test_what_is_no_request_is_refused(said, status):
    async with Door() as door:
        pieces = [said[at : at + 50_000] for at in range(0, len(said), 50_000)]
        heard = await door.say(*pieces)
        assert heard[9:12] == status
        assert json.loads(heard.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
        assert not any(request.is_read for request in door.seen)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/p/a/v1/messages", {"type": "error", "error": {"type": "invalid_request_error"}}),
        (b"/v1beta/models/m:generateContent", {"error": {"code": 431, "status": "INVALID_ARGUMENT"}}),
    ],
)
async def test_a_head_without_end_is_refused_in_the_dialect_of_its_path(path, found):
    async with Door() as door:
        heard = await door.say(b"POST " + path + b" HTTP/1.1\r\nx: " + b"y" * 70_000, b"z" * 70_000)
        said = json.loads(heard.partition(b"\r\n\r\n")[2])
        assert said["error"].pop("message") == "The head of the request is larger than 64 KiB."
        assert {name: said[name] for name in found} == found


async def test_a_client_that_leaves_ends_its_call_at_once():
    async with Door() as door:
        _, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(POST.replace(b"/x", b"/hang"))
        await async_until(lambda: door.seen)
        writer.close()
        await asyncio.sleep(0.1)
        assert door.ended == [True]


async def test_a_bug_is_an_answer_and_the_next_request_is_served():
    async with Door() as door:
        heard = await door.say(POST.replace(b"/x", b"/fail") + POST, until=b"|hi")
        assert heard.startswith(b"HTTP/1.1 500 ")
        assert b"HTTP/1.1 200 " in heard


async def test_a_client_that_sends_nothing_is_cut(monkeypatch):
    for name in ("SWEEP_S", "HEAD_S", "BODY_S", "IDLE_S"):
        monkeypatch.setattr(server_module, name, 0.05)
    async with Door() as door:
        assert await door.say(b"") == b""
        assert await door.say(b"POST /x HT") == b""
        assert await door.say(POST[:-1]) == b""


async def test_an_offer_of_another_protocol_is_not_taken():
    async with Door() as door:
        offer = b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\r\n"
        heard = await door.say(offer + POST, until=b"|hi")
        assert heard.count(b"HTTP/1.1 200 OK") == 2


async def test_repeated_headers_are_joined():
    async with Door() as door:
        asked = POST.replace(b"host: a", b"host: a\r\nAnthropic-Beta: one\r\nanthropic-beta: two")
        await door.say(asked, until=b"|hi")
        assert door.seen[0].headers[b"anthropic-beta"] == b"one, two"


async def test_the_same_head_comes_with_bodies_of_any_length():
    async with Door() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        for body in (b"hi", b"hello", b"a\r\n\r\ncontent-length: 2\r\n\r\nb", b"", b"x" * 70_000, b"hi"):
            head = b"POST /x?%d HTTP/1.1\r\nhost: a\r\nContent-Length: %d\r\n\r\n"
            for asked in (1, 1, 2):
                writer.write(head % (asked, len(body)) + body)
                await reader.readuntil(b"\r\n\r\n")
                wanted = b"%d|" % asked + body
                assert await asyncio.wait_for(reader.readexactly(len(wanted)), 5) == wanted
        writer.close()


@pytest.mark.parametrize(
    "second", [b"content-length: +2", b"content-length: 2 ", b"content-length: 2\r\ncontent-length: 3"]
)
async def test_a_known_head_says_nothing_about_another_one(second):
    async with Door() as door:
        heard = await door.say(POST, POST.replace(b"content-length: 2", second) + POST, until=b"|hi")
        assert heard.startswith(b"HTTP/1.1 200 OK")
        assert all(request.is_read for request in door.seen)


async def test_a_known_head_is_found_wherever_its_bytes_were_cut():
    async with Door() as door:
        for at in range(1, len(POST)):
            heard = await door.say(POST, POST[:at], POST[at:] + POST, until=b"|hi|hi"[:3])
            assert heard.startswith(b"HTTP/1.1 200 OK")
        assert {request.path for request in door.seen} == {"/x"}
