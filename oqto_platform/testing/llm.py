"""
A scripted LLM provider for tests: real HTTP, four wires, and every fault a provider can have.

    with ScriptedProvider() as provider:
        provider.url          # http://127.0.0.1:PORT
        provider.requests     # what was received, newest last

or `python -m oqto_platform.testing.llm --port 0`, which prints `{"port": N, "url": …}` when it is ready.

The newest user text of a request says what to answer, so tests share no state. A directive is
`[[name args]]`; several may follow each other, and each turn of the model since that text uses one up:

    [[say TEXT]]              words, as separate deltas
    [[tool NAME JSON]]        one tool call         [[tools [{"name":…,"arguments":{…}},…]]]  several
    [[slow N DELAY]]          N numbered words, DELAY seconds apart
    [[length]]                stops because of the token limit
    [[drop]]                  a piece of the reply, then the connection is cut
    [[hang S]]                silence for S seconds         [[reset]]    cut before any reply
    [[garbage]]               not HTTP                      [[badlength]]  content-length larger than the body
    [[errorevent]]            status 200, a word, then an error inside the stream

and these join the directive after them:

    [[think TEXT]]            thoughts first                [[usage IN OUT CACHED WRITTEN REASONING]]
    [[error STATUS TIMES]]    this status the first TIMES times
    [[nousage]] [[usageall]]  no counts at all, or counts in every chunk
    [[bytewise]] [[crlf]]     one byte per write; CRLF line ends

Without a directive it says "done." after a tool result and otherwise repeats the user's text.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from oqto_platform.testing.llm_script import Turn, plan, tokens_of
from oqto_platform.testing.llm_wires import Chat, Gemini, Messages, Responses, Tokens, Wire

GEMINI = re.compile(r"/models/([^/:]+):(generateContent|streamGenerateContent)$")


@dataclass
class Received:
    """One request as it came in. `usage` is what the provider counted for its reply."""

    path: str
    query: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes
    key: str
    at: float = field(default_factory=time.time)
    usage: Tokens | None = None
    status: int = 0
    is_finished: bool = False
    is_cut_by_client: bool = False


class ScriptedProvider:
    """The provider, serving from a thread of its own between `__enter__` and `__exit__`."""

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        require_key: str = "",
        models: tuple[str, ...] = ("fake-1",),
    ) -> None:
        self.host, self.port, self.require_key, self.models = host, port, require_key, models
        self.requests: list[Received] = []
        self._errors: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="scripted-provider", daemon=True)
        self._ready = threading.Event()
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The root, without `/v1`."""
        return f"http://{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    def forget(self) -> None:
        """As if nothing had been asked yet."""
        self.requests.clear()
        self._errors.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(5):
            raise RuntimeError(f"the scripted provider cannot listen on {self.host}:{self.port}")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, self.host, self.port, limit=2**20)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client or the test is done with this connection
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        method, received = await _read(reader, writer)
        reply = _Reply(writer, received)
        if method == "GET" and (not self.require_key or received.key == self.require_key):
            return await reply.json(
                200, {"object": "list", "data": [{"id": m, "object": "model"} for m in self.models]}
            )
        if method != "GET":
            self.requests.append(received)
        if self.require_key and received.key != self.require_key:
            return await reply.json(401, _problem("invalid api key", "authentication_error"))
        turn, text = plan(received.body)
        status, times = (
            ([*turn.modifiers.get("error", "").split(), "1"])[:2] if "error" in turn.modifiers else ("", "0")
        )
        self._errors[text] = self._errors.get(text, 0) + 1
        if status and self._errors[text] <= int(times):
            return await reply.json(int(status), _problem(f"scripted {status}", "scripted_error"))
        return await self._answer(reply, turn)

    async def _answer(self, reply: _Reply, turn: Turn) -> bool:
        if reply.received.path.endswith("/embeddings"):
            return await reply.embeddings(tokens_of(turn) or Tokens())
        wire = _wire(reply.received, turn)
        if wire is None:
            return await reply.json(404, _problem(f"no such path {reply.received.path}", "not_found"))
        if reply.received.path.endswith("/count_tokens"):
            return await reply.json(200, {"input_tokens": 42})
        if turn.name == "hang":
            await asyncio.sleep(float(turn.argument or 60))
        if turn.name in ("reset", "garbage"):
            await reply.raw(b"" if turn.name == "reset" else b"\x00\x01 what is HTTP\r\n\r\n")
            return False
        reply.received.usage = wire.usage
        if reply.wants_stream:
            return await reply.stream(wire, turn)
        whole = wire.whole([step for step in turn.steps() if isinstance(step, tuple)])
        return await reply.json(200, whole, missing=100 if turn.name == "badlength" else 0)


class _Reply:
    """Writes one answer. Each method says whether the connection may be used again."""

    def __init__(self, writer: asyncio.StreamWriter, received: Received) -> None:
        self._writer, self.received = writer, received
        self._has_items = False

    @property
    def wants_stream(self) -> bool:
        return bool(self.received.body.get("stream")) or "streamGenerateContent" in self.received.path

    async def raw(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            self.received.is_cut_by_client = True
            raise

    async def json(self, status: int, value: Any, *, missing: int = 0) -> bool:
        body = json.dumps(value).encode()
        self.received.status = status
        await self.raw(
            b"HTTP/1.1 %d Scripted\r\ncontent-type: application/json\r\nx-request-id: req_%x\r\ncontent-length: %d\r\n\r\n"
            % (status, time.time_ns(), len(body) + missing)
            + body
        )
        self.received.is_finished = not missing
        return not missing

    async def embeddings(self, usage: Tokens) -> bool:
        given = self.received.body.get("input")
        texts = given if isinstance(given, list) else [given]
        rows = [
            {"object": "embedding", "index": at, "embedding": [0.5, -0.25, 1.0]} for at in range(len(texts))
        ]
        self.received.usage = usage
        counts = {"prompt_tokens": usage.prompt, "total_tokens": usage.prompt}
        model = self.received.body.get("model")
        return await self.json(200, {"object": "list", "model": model, "data": rows, "usage": counts})

    @property
    def _is_array(self) -> bool:
        """Whether Gemini's stream is to come as a JSON array, which is what it does unless asked for events."""
        return "streamGenerateContent" in self.received.path and "alt=sse" not in self.received.query

    async def stream(self, wire: Wire, turn: Turn) -> bool:
        self.received.status = 200
        kind = b"application/json" if self._is_array else b"text/event-stream"
        await self.raw(
            b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncache-control: no-cache\r\n"
            b"transfer-encoding: chunked\r\nx-request-id: req_%x\r\n\r\n" % (kind, time.time_ns())
        )
        await self._chunk(wire.start(), turn)
        if turn.name in ("drop", "errorevent"):
            await self._chunk(wire.step("text", "partial "), turn)
            if turn.name == "drop":
                return False
            await self._chunk(wire.failure("scripted failure"), turn)
        else:
            await self._steps(wire, turn)
        if self._is_array:
            await self.raw(b"1\r\n]\r\n")
        await self.raw(b"0\r\n\r\n")
        self.received.is_finished = True
        return True

    def _items(self, frames: bytes) -> bytes:
        """Events as items of the array."""
        items = [frame.removeprefix(b"data: ") for frame in frames.split(b"\n\n") if frame]
        data = b"".join((b"\n,\n" if self._has_items or at else b"[") + item for at, item in enumerate(items))
        self._has_items |= bool(items)
        return data

    async def _steps(self, wire: Wire, turn: Turn) -> None:
        for step in turn.steps():
            if isinstance(step, float):
                await self._pause(step)
            else:
                await self._chunk(wire.step(*step), turn)
        await self._chunk(wire.end(), turn)

    async def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.02))
            if self._writer.transport.is_closing():
                self.received.is_cut_by_client = True
                raise ConnectionResetError("the client left")

    async def _chunk(self, data: bytes, turn: Turn) -> None:
        if self._is_array:
            data = self._items(data)
        if "crlf" in turn.modifiers:
            data = data.replace(b"\n", b"\r\n")
        pieces = [data[at : at + 1] for at in range(len(data))] if "bytewise" in turn.modifiers else [data]
        for piece in filter(None, pieces):
            await self.raw(b"%x\r\n%s\r\n" % (len(piece), piece))


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, Received]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    raw = await _body(reader, headers)
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        body = {}
    url = urlsplit(target)
    key = headers.get("x-api-key") or headers.get("x-goog-api-key") or headers.get("api-key") or ""
    key = (
        key
        or headers.get("authorization", "").removeprefix("Bearer ")
        or parse_qs(url.query).get("key", [""])[0]
    )
    return method, Received(url.path, url.query, headers, body if isinstance(body, dict) else {}, raw, key)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    pieces = []
    while size := int(await reader.readline(), 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return b"".join(pieces)


def _wire(received: Received, turn: Turn) -> Wire | None:
    kinds: dict[str, type[Wire]] = {"/chat/completions": Chat, "/messages": Messages, "/responses": Responses}
    gemini = GEMINI.search(received.path)
    kinds["/messages/count_tokens"] = Messages
    kind = Gemini if gemini else next((k for end, k in kinds.items() if received.path.endswith(end)), None)
    if kind is None:
        return None
    model = gemini.group(1) if gemini else str(received.body.get("model", ""))
    return kind(model, tokens_of(turn), received.body, "usageall" in turn.modifiers)


def _problem(message: str, kind: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message, "code": None, "param": None}}


def main() -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A scripted LLM provider for tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--require-key", default="")
    parser.add_argument("--models", default="fake-1")
    asked = parser.parse_args()
    models = tuple(asked.models.split(","))
    with ScriptedProvider(
        port=asked.port, host=asked.host, require_key=asked.require_key, models=models
    ) as provider:
        print(json.dumps({"port": provider.port, "url": provider.url}), flush=True)  # noqa: T201 the program's answer
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
