"""The demo provider: answers like OpenAI's chat completions from inside the proxy, at a reading pace."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from oqto_platform import clock

from .demo_script import answer, arguments_text, read_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .reply import ChunkSink, Sink
    from .upstream import Headers, Reader

WORD_S = 0.02
BYTES_PER_TOKEN = 4
WORDS = re.compile(r"\S+\s*|\s+")


class DemoReply:
    """A reply of the demo model; the same request always gets the same one."""

    status = 200

    def __init__(self, body: bytes, *, is_stream: bool) -> None:
        request = msgspec.json.decode(body)
        self._reply = answer(read_request(request if isinstance(request, dict) else {}))
        self._prompt = len(body) // BYTES_PER_TOKEN
        self._frames = self._stream() if is_stream else self._plain()
        kind = b"text/event-stream" if is_stream else b"application/json"
        self.headers: Headers = [(b"content-type", kind)]

    async def pump(
        self, sink: Sink, reader: Reader, quiet_s: float, chunk_sink: ChunkSink | None = None
    ) -> None:
        """Give every frame to `sink`, as fast as `reader` takes them."""
        while (frame := await self.chunk()) is not None:
            sink(frame)
            await reader.drained()

    async def chunk(self) -> bytes | None:
        """The next frame after its pause."""
        pause, frame = next(self._frames, (0.0, None))
        if pause:
            await clock.sleep(pause)
        return frame

    def close(self) -> None:
        """Nothing is open."""

    def _usage(self) -> dict[str, int]:
        reply = self._reply
        written = len(reply.thoughts) + len(reply.text) + (len(arguments_text(reply)) if reply.tool else 0)
        output = written // BYTES_PER_TOKEN
        return {
            "prompt_tokens": self._prompt,
            "completion_tokens": output,
            "total_tokens": self._prompt + output,
        }

    def _call(self) -> dict[str, Any]:
        function = {"name": self._reply.tool, "arguments": arguments_text(self._reply)}
        return {"id": f"call_demo_{self._prompt}", "type": "function", "function": function}

    def _plain(self) -> Iterator[tuple[float, bytes]]:
        message: dict[str, Any] = {"role": "assistant", "content": self._reply.text or None}
        message["reasoning_content"] = self._reply.thoughts
        if self._reply.tool:
            message["tool_calls"] = [self._call()]
        choice = {"index": 0, "message": message, "finish_reason": self._finish}
        yield (
            0.0,
            msgspec.json.encode(
                {**self._base("chat.completion"), "choices": [choice], "usage": self._usage()}
            ),
        )

    @property
    def _finish(self) -> str:
        return "tool_calls" if self._reply.tool else "stop"

    def _base(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-demo-{self._prompt}", "object": kind, "created": 0, "model": "demo"}

    def _frame(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return (
            b"data: "
            + msgspec.json.encode({**self._base("chat.completion.chunk"), "choices": [choice]})
            + b"\n\n"
        )

    def _stream(self) -> Iterator[tuple[float, bytes]]:
        yield 0.0, self._frame({"role": "assistant", "content": ""})
        for word in WORDS.findall(self._reply.thoughts):
            yield WORD_S, self._frame({"reasoning_content": word})
        for word in WORDS.findall(self._reply.text):
            yield WORD_S, self._frame({"content": word})
        if self._reply.tool:
            yield WORD_S, self._frame({"tool_calls": [{"index": 0, **self._call()}]})
        yield 0.0, self._frame({}, self._finish)
        last = {**self._base("chat.completion.chunk"), "choices": [], "usage": self._usage()}
        yield 0.0, b"data: " + msgspec.json.encode(last) + b"\n\ndata: [DONE]\n\n"
