"""
The reply side of the scripted provider: one class per wire, each plain and streamed.

Shapes follow the vendors' published references: OpenAI chat completions and responses, Anthropic
messages, Gemini generateContent. A reply is told as steps, `(kind, payload)`: `text`, `think`,
`tool` (a `ToolCall`), `stop` (`stop`, `length` or `tool_calls`).
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Step = tuple[str, Any]
PIECE = 24
"""Characters of tool arguments per streamed delta."""


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool; `arguments` is JSON text."""

    index: int
    id: str
    name: str
    arguments: str

    def pieces(self) -> Iterator[str]:
        """The arguments as a provider streams them."""
        return (self.arguments[at : at + PIECE] for at in range(0, len(self.arguments), PIECE))


@dataclass(frozen=True)
class Tokens:
    """What the provider counted. `input` is uncached; `output` includes `reasoning`."""

    input: int = 10
    output: int = 5
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0

    @property
    def prompt(self) -> int:
        """Input as OpenAI and Gemini count it, caches included."""
        return self.input + self.cache_read + self.cache_write


@dataclass
class Wire:
    """A reply in the making. `usage=None` leaves the counts out."""

    model: str
    usage: Tokens | None
    body: dict[str, Any]
    usage_in_every_chunk: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        """What a wire counts while it streams."""

    def start(self) -> bytes:
        """The frames before the first step."""
        return b""

    def step(self, kind: str, payload: Any) -> bytes:
        """The frames of one step."""
        raise NotImplementedError

    def end(self) -> bytes:
        """The frames after the last step."""
        return b""

    def whole(self, steps: Iterable[Step]) -> dict[str, Any]:
        """The reply as one JSON object."""
        raise NotImplementedError

    def failure(self, message: str) -> bytes:
        """An error inside a stream that began with status 200."""
        return frame({"error": {"message": message, "type": "server_error", "code": None}})


def frame(value: Any, event: str = "") -> bytes:
    """One server-sent event."""
    data = value if isinstance(value, str) else json.dumps(value)
    return (f"event: {event}\n" if event else "").encode() + f"data: {data}\n\n".encode()


def gather(steps: Iterable[Step]) -> tuple[str, str, list[ToolCall], str]:
    """Text, thoughts, tool calls and stop reason of a whole reply."""
    text, thoughts, stop = "", "", "stop"
    calls: list[ToolCall] = []
    for kind, payload in steps:
        if kind == "text":
            text += payload
        elif kind == "think":
            thoughts += payload
        elif kind == "tool":
            calls.append(payload)
        elif kind == "stop":
            stop = payload
    return text, thoughts, calls, stop


class Chat(Wire):
    """`POST /v1/chat/completions`."""

    def _base(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self.id}", "object": kind, "created": self.created, "model": self.model}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        chunk = {**self._base("chat.completion.chunk"), "choices": [choice]}
        if self.usage_in_every_chunk and self.usage:
            chunk["usage"] = self.counts(self.usage)
        return frame(chunk)

    def start(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def step(self, kind: str, payload: Any) -> bytes:
        if kind == "text":
            return self._chunk({"content": payload})
        if kind == "think":
            return self._chunk({"reasoning_content": payload})
        if kind == "tool":
            return b"".join(self._tool(payload))
        return self._chunk({}, payload)

    def _tool(self, call: ToolCall) -> Iterator[bytes]:
        head = {"index": call.index, "id": call.id, "type": "function"}
        yield self._chunk({"tool_calls": [{**head, "function": {"name": call.name, "arguments": ""}}]})
        for piece in call.pieces():
            yield self._chunk({"tool_calls": [{"index": call.index, "function": {"arguments": piece}}]})

    def end(self) -> bytes:
        wants = bool((self.body.get("stream_options") or {}).get("include_usage"))
        last = {**self._base("chat.completion.chunk"), "choices": []}
        if wants and self.usage:
            return frame({**last, "usage": self.counts(self.usage)}) + frame("[DONE]")
        return frame("[DONE]")

    @staticmethod
    def counts(tokens: Tokens) -> dict[str, Any]:
        return {
            "prompt_tokens": tokens.prompt,
            "completion_tokens": tokens.output,
            "total_tokens": tokens.prompt + tokens.output,
            "prompt_tokens_details": {
                "cached_tokens": tokens.cache_read,
                "cache_write_tokens": tokens.cache_write,
            },
            "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
        }

    def whole(self, steps: Iterable[Step]) -> dict[str, Any]:
        text, thoughts, calls, stop = gather(steps)
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        if thoughts:
            message["reasoning_content"] = thoughts
        if calls:
            message["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                for c in calls
            ]
        reply = self._base("chat.completion")
        reply["choices"] = [{"index": 0, "message": message, "finish_reason": stop}]
        return {**reply, "usage": self.counts(self.usage)} if self.usage else reply


class Messages(Wire):
    """`POST /v1/messages` of Anthropic."""

    STOPS: ClassVar = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}

    def __post_init__(self) -> None:
        self._index, self._open = -1, ""

    def _event(self, kind: str, **fields: Any) -> bytes:
        return frame({"type": kind, **fields}, kind)

    def _message(self, content: list[Any], stop: str | None) -> dict[str, Any]:
        head = {"id": f"msg_{self.id}", "type": "message", "role": "assistant", "model": self.model}
        return {**head, "content": content, "stop_reason": stop, "stop_sequence": None}

    def start(self) -> bytes:
        message = self._message([], None)
        message["usage"] = self.counts(self.usage, 1) if self.usage else {}
        return self._event("message_start", message=message) + self._event("ping")

    @staticmethod
    def counts(tokens: Tokens, output: int) -> dict[str, Any]:
        return {
            "input_tokens": tokens.input,
            "cache_read_input_tokens": tokens.cache_read,
            "cache_creation_input_tokens": tokens.cache_write,
            "output_tokens": output,
        }

    def _block(self, kind: str, block: dict[str, Any]) -> bytes:
        if self._open == kind:
            return b""
        closed = self._close()
        self._index, self._open = self._index + 1, kind
        return closed + self._event("content_block_start", index=self._index, content_block=block)

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return self._event("content_block_stop", index=self._index)

    def _delta(self, kind: str, **fields: Any) -> bytes:
        return self._event("content_block_delta", index=self._index, delta={"type": kind, **fields})

    def step(self, kind: str, payload: Any) -> bytes:
        if kind == "text":
            return self._block("text", {"type": "text", "text": ""}) + self._delta("text_delta", text=payload)
        if kind == "think":
            opened = self._block("think", {"type": "thinking", "thinking": "", "signature": ""})
            return opened + self._delta("thinking_delta", thinking=payload)
        if kind == "tool":
            block = {"type": "tool_use", "id": payload.id, "name": payload.name, "input": {}}
            opened = self._block(f"tool {payload.id}", block)
            return opened + b"".join(
                self._delta("input_json_delta", partial_json=p) for p in payload.pieces()
            )
        closed, delta = self._close(), {"stop_reason": self.STOPS[payload], "stop_sequence": None}
        usage = {"output_tokens": self.usage.output} if self.usage else {}
        return closed + self._event("message_delta", delta=delta, usage=usage)

    def end(self) -> bytes:
        return self._event("message_stop")

    def failure(self, message: str) -> bytes:
        return self._event("error", error={"type": "overloaded_error", "message": message})

    def whole(self, steps: Iterable[Step]) -> dict[str, Any]:
        text, thoughts, calls, stop = gather(steps)
        content: list[dict[str, Any]] = []
        if thoughts:
            content.append({"type": "thinking", "thinking": thoughts, "signature": ""})
        if text:
            content.append({"type": "text", "text": text})
        content += [
            {"type": "tool_use", "id": c.id, "name": c.name, "input": json.loads(c.arguments)} for c in calls
        ]
        reply = self._message(content, self.STOPS[stop])
        return {**reply, "usage": self.counts(self.usage, self.usage.output)} if self.usage else reply


class Responses(Wire):
    """`POST /v1/responses` of OpenAI."""

    def __post_init__(self) -> None:
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        self._text: dict[str, Any] | None = None
        self._status = "completed"

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._sequence += 1
        return frame({"type": kind, "sequence_number": self._sequence - 1, **fields}, kind)

    def _response(self, status: str) -> dict[str, Any]:
        head = {"id": f"resp_{self.id}", "object": "response", "model": self.model, "status": status}
        return {**head, "output": self._output, "created_at": self.created}

    def start(self) -> bytes:
        return self._event("response.created", response=self._response("in_progress"))

    def step(self, kind: str, payload: Any) -> bytes:
        if kind == "text":
            return self._write(payload)
        if kind == "tool":
            return self._close() + self._call(payload)
        if kind == "stop":
            self._status = "incomplete" if payload == "length" else "completed"
        return b""

    def _write(self, text: str) -> bytes:
        opened, at = b"", len(self._output)
        where: dict[str, Any] = {"item_id": f"msg_{self.id}_{at}", "output_index": at, "content_index": 0}
        if self._text is None:
            part = {"type": "output_text", "text": "", "annotations": []}
            self._text = {"id": where["item_id"], "type": "message", "role": "assistant", "content": [part]}
            item = {**self._text, "status": "in_progress", "content": []}
            opened = self._event("response.output_item.added", output_index=at, item=item)
            opened += self._event("response.content_part.added", **where, part=part)
        self._text["content"][0]["text"] += text
        return opened + self._event("response.output_text.delta", **where, delta=text)

    def _close(self) -> bytes:
        if self._text is None:
            return b""
        at, item = len(self._output), {**self._text, "status": "completed"}
        where = {"item_id": item["id"], "output_index": at, "content_index": 0}
        part = item["content"][0]
        done = self._event("response.output_text.done", **where, text=part["text"])
        done += self._event("response.content_part.done", **where, part=part)
        self._output.append(item)
        self._text = None
        return done + self._event("response.output_item.done", output_index=at, item=item)

    def _call(self, call: ToolCall) -> bytes:
        at, head = len(self._output), {"id": f"fc_{call.id}", "type": "function_call", "call_id": call.id}
        item = {**head, "name": call.name, "arguments": "", "status": "in_progress"}
        where = {"item_id": item["id"], "output_index": at}
        frames = self._event("response.output_item.added", output_index=at, item=item)
        for piece in call.pieces():
            frames += self._event("response.function_call_arguments.delta", **where, delta=piece)
        frames += self._event("response.function_call_arguments.done", **where, arguments=call.arguments)
        item = {**item, "arguments": call.arguments, "status": "completed"}
        self._output.append(item)
        return frames + self._event("response.output_item.done", output_index=at, item=item)

    def end(self) -> bytes:
        closed, response = self._close(), self._final()
        return closed + self._event(f"response.{self._status}", response=response)

    def _final(self) -> dict[str, Any]:
        response = self._response(self._status)
        if self._status == "incomplete":
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        return {**response, "usage": self.counts(self.usage)} if self.usage else response

    @staticmethod
    def counts(tokens: Tokens) -> dict[str, Any]:
        cached = {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write}
        return {
            "input_tokens": tokens.prompt,
            "input_tokens_details": cached,
            "output_tokens": tokens.output,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
            "total_tokens": tokens.prompt + tokens.output,
        }

    def failure(self, message: str) -> bytes:
        return self._event("error", code="server_error", message=message, param=None)

    def whole(self, steps: Iterable[Step]) -> dict[str, Any]:
        for kind, payload in steps:
            self.step(kind, payload)
        self._close()
        return self._final()


class Gemini(Wire):
    """`POST /v1beta/models/M:generateContent` and `:streamGenerateContent?alt=sse`."""

    STOPS: ClassVar = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}

    def _reply(self, parts: list[dict[str, Any]], finish: str = "") -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        reply = {"candidates": [candidate], "modelVersion": self.model, "responseId": self.id}
        return {**reply, "usageMetadata": self.counts(self.usage)} if self.usage else reply

    @staticmethod
    def counts(tokens: Tokens) -> dict[str, Any]:
        return {
            "promptTokenCount": tokens.prompt,
            "candidatesTokenCount": tokens.output - tokens.reasoning,
            "thoughtsTokenCount": tokens.reasoning,
            "cachedContentTokenCount": tokens.cache_read,
            "totalTokenCount": tokens.prompt + tokens.output,
        }

    @staticmethod
    def _part(kind: str, payload: Any) -> dict[str, Any]:
        if kind == "tool":
            return {"functionCall": {"name": payload.name, "args": json.loads(payload.arguments)}}
        return {"text": payload, "thought": True} if kind == "think" else {"text": payload}

    def step(self, kind: str, payload: Any) -> bytes:
        if kind == "stop":
            return frame(self._reply([], self.STOPS[payload]))
        return frame(self._reply([self._part(kind, payload)]))

    def failure(self, message: str) -> bytes:
        return frame({"error": {"code": 503, "message": message, "status": "UNAVAILABLE"}})

    def whole(self, steps: Iterable[Step]) -> dict[str, Any]:
        told = list(steps)
        stop = next((p for kind, p in told if kind == "stop"), "stop")
        return self._reply([self._part(k, p) for k, p in told if k != "stop"], self.STOPS[stop])
