"""The assistant message that is being written: deltas under one id from start to end.

Pi 0.74 repeats the whole message in every update; only the delta is taken from it. What has been
streamed is kept as pieces, so that a message can be closed when pi dies in the middle of it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from oqto_platform.canon import (
    Message,
    MessageEnd,
    MessageStart,
    Part,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallPart,
    ToolCallStart,
)
from oqto_runner.harness.pi.messages import Mint, canonical
from oqto_runner.harness.pi.outbox import Outbox
from oqto_runner.harness.pi.values import record, records, text, whole

Kind = Literal["text", "thinking", "toolcall"]


class _Block(msgspec.Struct):
    kind: Kind
    pieces: list[str] = []
    call_id: str = ""
    name: str = ""
    input: Any = None
    is_announced: bool = False


class AssistantStream:
    """At most one open message."""

    def __init__(self, out: Outbox, mint: Mint) -> None:
        self._out = out
        self._mint = mint
        self._id = ""
        self._blocks: dict[int, _Block] = {}
        self._began_ms = 0

    @property
    def is_open(self) -> bool:
        return bool(self._id)

    def start(self, at_ms: int) -> None:
        """Open a message; one whose end was lost is closed first."""
        self.break_off()
        self._id, self._blocks, self._began_ms = self._mint(), {}, at_ms
        self._out.say(MessageStart(message_id=self._id))

    def update(self, event: dict[str, Any]) -> Kind | None:
        """One `assistantMessageEvent`; tells what is being written, `None` when it is nothing new."""
        kind, _, step = text(event, "type").partition("_")
        if kind not in {"text", "thinking", "toolcall"} or step not in {"start", "delta", "end"}:
            return None
        if not self.is_open:
            self.start(0)
        index = whole(event, "contentIndex")
        block = self._blocks.get(index)
        if block is None or block.kind != kind:
            block = self._blocks[index] = _Block(kind=kind)  # type: ignore[arg-type]  # checked above
        if kind == "toolcall":
            self._tool_call(block, step, index, event)
        elif step == "delta":
            self._words(block, index, text(event, "delta"))
        return block.kind

    def end(self, message: dict[str, Any], *, aborting: bool) -> Message:
        """The whole message, which replaces what was streamed."""
        if not self.is_open:
            self.start(whole(message, "timestamp"))
        complete = canonical(message, self._id, aborting=aborting)
        self._id, self._blocks = "", {}
        self._out.say(MessageEnd(message=complete))
        return complete

    def break_off(self) -> None:
        """Close an open message with what was streamed of it."""
        if not self.is_open:
            return
        parts = tuple(self._part(index, block) for index, block in sorted(self._blocks.items()))
        self._out.say(
            MessageEnd(
                message=Message(
                    id=self._id, role="assistant", parts=parts, created_at=self._began_ms, stop_reason="error"
                )
            )
        )
        self._id, self._blocks = "", {}

    def _words(self, block: _Block, index: int, delta: str) -> None:
        if not delta:
            return
        block.pieces.append(delta)
        kind = TextDelta if block.kind == "text" else ThinkingDelta
        self._out.say(kind(message_id=self._id, delta=delta, content_index=index))

    def _tool_call(self, block: _Block, step: str, index: int, event: dict[str, Any]) -> None:
        call = record(event, "toolCall") if step == "end" else _named(event, index)
        block.call_id = block.call_id or text(call, "id")
        block.name = block.name or text(call, "name")
        self._announce(block, index)
        delta = text(event, "delta") if step == "delta" else ""
        if delta:
            block.pieces.append(delta)
            self._say_delta(block, index, delta)
        if step == "end":
            block.input = call.get("arguments")
            self._out.say(
                ToolCallEnd(
                    message_id=self._id,
                    tool_call_id=block.call_id,
                    name=block.name,
                    input=block.input,
                    content_index=index,
                )
            )

    def _announce(self, block: _Block, index: int) -> None:
        """As soon as the id is known; what came before is told then."""
        if block.is_announced or not block.call_id:
            return
        block.is_announced = True
        self._out.say(
            ToolCallStart(
                message_id=self._id, tool_call_id=block.call_id, name=block.name, content_index=index
            )
        )
        for delta in block.pieces:
            self._say_delta(block, index, delta)

    def _say_delta(self, block: _Block, index: int, delta: str) -> None:
        if block.is_announced:
            self._out.say(
                ToolCallDelta(
                    message_id=self._id, tool_call_id=block.call_id, delta=delta, content_index=index
                )
            )

    def _part(self, index: int, block: _Block) -> Part:
        part_id, words = f"{self._id}.{index}", "".join(block.pieces)
        if block.kind == "text":
            return TextPart(id=part_id, text=words)
        if block.kind == "thinking":
            return ThinkingPart(id=part_id, text=words)
        given = words if block.input is None else block.input
        return ToolCallPart(
            id=part_id, tool_call_id=block.call_id, name=block.name, input=given, status="error"
        )


def _named(event: dict[str, Any], index: int) -> dict[str, Any]:
    """Id and name of a call: told outright by ≥0.8, inside the partial message by 0.74."""
    if "toolName" in event:
        return {"id": event.get("id"), "name": event.get("toolName")}
    content = records(record(event, "partial"), "content")
    return content[index] if 0 <= index < len(content) else {}
