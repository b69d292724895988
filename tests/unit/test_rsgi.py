"""Granian's native interface, translated: requests, bodies, streams, sockets, and clients that leave."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from granian.rsgi import ProtocolClosed

from oqto_platform.rsgi import RSGIMixin, to_asgi


def scope(proto="http", **fields):
    base = {
        "proto": proto, "http_version": "1.1", "scheme": "http", "path": "/api/é x", "query_string": "a=1&b=%20",
        "method": "POST", "authority": None, "server": "127.0.0.1:8080", "client": "10.0.0.1:5555",
        "headers": {"host": "127.0.0.1:8080", "x-a": "1"},
    }  # fmt: skip
    return SimpleNamespace(**(base | fields))


def test_a_request_keeps_all_it_says():
    asgi = to_asgi(scope())
    assert (asgi["type"], asgi["method"], asgi["path"], asgi["query_string"]) == (
        "http",
        "POST",
        "/api/é x",
        b"a=1&b=%20",
    )
    assert asgi["raw_path"] == b"/api/%C3%A9%20x"
    assert asgi["headers"] == [(b"host", b"127.0.0.1:8080"), (b"x-a", b"1")]
    assert asgi["client"] == ("10.0.0.1", 5555)
    assert asgi["state"] == {}


def test_http_2_has_its_host_in_the_authority():
    asgi = to_asgi(scope(headers={}, authority="oqto.example"))
    assert asgi["headers"] == [(b"host", b"oqto.example")]


@pytest.mark.parametrize(("scheme", "expected"), [("http", "ws"), ("https", "wss")])
def test_a_socket_has_its_own_scheme(scheme, expected):
    asgi = to_asgi(scope("ws", scheme=scheme))
    assert (asgi["type"], asgi["scheme"]) == ("websocket", expected)
    assert "method" not in asgi


@pytest.mark.parametrize(("text", "expected"), [("[::1]:80", ("::1", 80)), ("unix:/x", None), ("", None)])
def test_addresses(text, expected):
    assert to_asgi(scope(client=text))["client"] == expected


class Http:
    """Granian's side of one request."""

    def __init__(self, chunks=(), gone=False):
        self.chunks, self.gone = list(chunks), gone
        self.whole, self.streamed, self.head = None, [], None

    async def __aiter__(self):
        for chunk in self.chunks:
            yield chunk

    async def client_disconnect(self):
        if not self.gone:
            await asyncio.Event().wait()

    def response_bytes(self, status, headers, body):
        self.whole = status, headers, body

    def response_stream(self, status, headers):
        self.head = status, headers
        return self

    async def send_bytes(self, body):
        if self.gone:
            raise ProtocolClosed
        self.streamed.append(body)


class WebSocket:
    def __init__(self, messages=()):
        self.messages, self.sent, self.closed = list(messages), [], []

    async def accept(self):
        return self

    async def receive(self):
        if not self.messages:
            raise ProtocolClosed
        kind, data = self.messages.pop(0)
        return SimpleNamespace(kind=kind, data=data)

    async def send_str(self, text):
        self.sent.append(text)

    async def send_bytes(self, data):
        self.sent.append(data)

    def close(self, status=None):
        self.closed.append(status)


def serving(handler):
    class App(RSGIMixin):
        async def __call__(self, asgi, receive, send):
            await handler(asgi, receive, send)

    return App()


START = {"type": "http.response.start", "status": 201, "headers": [(b"x", b"\xe9")]}


async def test_a_body_in_pieces_is_whole():
    async def echo(_asgi, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await send(START)
        await send({"type": "http.response.body", "body": body})

    proto = Http([b"one", b"two"])
    await serving(echo).__rsgi__(scope(), proto)
    assert proto.whole == (201, [("x", "é")], b"onetwo")


async def test_a_stream_goes_out_piece_by_piece():
    async def stream(_asgi, receive, send):
        await send(START)
        for piece in (b"a", b"", b"b"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    proto = Http()
    await serving(stream).__rsgi__(scope(), proto)
    assert proto.streamed == [b"a", b"b"]
    assert proto.whole is None


async def test_sending_to_a_client_that_left_does_nothing():
    heard = []

    async def stream(_asgi, receive, send):
        await receive()
        await send(START)
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        heard.append((await receive())["type"])

    await serving(stream).__rsgi__(scope(), Http(gone=True))
    assert heard == ["http.disconnect"]


async def test_a_socket_speaks_text_and_bytes_and_ends():
    heard = []

    async def talk(_asgi, receive, send):
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            heard.append(message["text"] or message["bytes"])
        heard.append(message["code"])
        await send({"type": "websocket.send", "text": "t", "bytes": None})
        await send({"type": "websocket.send", "bytes": b"b"})

    proto = WebSocket([(2, "hello"), (1, b"\x00")])
    await serving(talk).__rsgi__(scope("ws"), proto)
    assert heard == ["hello", b"\x00", 1006]
    assert proto.sent == ["t", b"b"]
    assert proto.closed == [None]


async def test_a_socket_that_is_not_accepted_is_refused_with_403():
    async def refuse(_asgi, receive, send):
        await receive()
        await send({"type": "websocket.close", "code": 4403, "reason": "x"})

    proto = WebSocket()
    await serving(refuse).__rsgi__(scope("ws"), proto)
    assert proto.closed[0] == 403


async def test_a_handler_that_breaks_still_ends_the_connection():
    async def broken(_asgi, receive, send):
        raise ZeroDivisionError

    proto = WebSocket()
    with pytest.raises(ZeroDivisionError):
        await serving(broken).__rsgi__(scope("ws"), proto)
    assert proto.closed == [403]
