"""Pi's messages as canonical ones.

Roles of pi: user, assistant, toolResult, system (its own prompt, left out), and of extensions and
bookkeeping: custom, bashExecution, branchSummary, compactionSummary, which are kept whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from oqto_platform.canon import (
    ExtensionPart,
    Image,
    ImagePart,
    Message,
    MessageUsage,
    Part,
    StopCause,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolStatus,
)
from oqto_runner.harness.pi.values import fraction, record, records, text, whole

Role = Literal["user", "assistant", "system", "tool"]

STOP: dict[str, StopCause] = {
    "stop": "stop",
    "length": "length",
    "toolUse": "tool_use",
    "error": "error",
    "aborted": "aborted",
}
KNOWN = frozenset(
    {
        "role",
        "content",
        "api",
        "provider",
        "model",
        "usage",
        "stopReason",
        "errorMessage",
        "timestamp",
        "responseId",
        "rawStopReason",
    }
)
Mint = Callable[[], str]


def prompt_message(
    message_id: str, words: str, images: tuple[Image, ...], client_id: str, at_ms: int
) -> Message:
    """What a person sent, before pi has it."""
    parts: list[Part] = [TextPart(id=f"{message_id}.0", text=words)] if words else []
    parts += [
        ImagePart(id=f"{message_id}.{number}", data=image.data, mime_type=image.media_type)
        for number, image in enumerate(images, start=1)
    ]
    return Message(
        id=message_id, role="user", parts=tuple(parts), created_at=at_ms, client_id=client_id or None
    )


def canonical(message: dict[str, Any], message_id: str, *, aborting: bool = False) -> Message:
    """One message of pi; `aborting` turns the error that 0.87 makes of an abort into `aborted`."""
    role = text(message, "role")
    if role == "assistant":
        return _assistant(message, message_id, aborting=aborting)
    if role == "user":
        return _plain(message, message_id, "user")
    if role == "toolResult":
        return _tool_result(message, message_id)
    return _foreign(message, message_id)


def history(messages: Iterable[dict[str, Any]], mint: Mint) -> tuple[Message, ...]:
    """A conversation as it stands, tool calls with the outcome that their results tell."""
    kept = [message for message in messages if message.get("role") != "system"]
    outcomes = {
        text(message, "toolCallId"): bool(message.get("isError"))
        for message in kept
        if message.get("role") == "toolResult"
    }
    return tuple(_with_outcomes(canonical(message, mint()), outcomes) for message in kept)


def user_text(message: dict[str, Any]) -> str:
    """The words of a user message; pi compares them with its queue in this form."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(
        text(block, "text") for block in records(message, "content") if block.get("type") == "text"
    )


def tool_output(result: dict[str, Any]) -> dict[str, Any]:
    """What a tool gave back, in one form for `tool.end` and for history: `content` and perhaps `details`."""
    output: dict[str, Any] = {"content": result.get("content", [])}
    if result.get("details"):
        output["details"] = result["details"]
    return output


def usage_of(usage: dict[str, Any]) -> MessageUsage | None:
    """Tokens and cost; `None` when pi told none."""
    if not usage:
        return None
    return MessageUsage(
        input_tokens=whole(usage, "input"),
        output_tokens=whole(usage, "output"),
        cache_read_tokens=whole(usage, "cacheRead"),
        cache_write_tokens=whole(usage, "cacheWrite"),
        cost_usd=fraction(record(usage, "cost"), "total"),
    )


def _assistant(message: dict[str, Any], message_id: str, *, aborting: bool) -> Message:
    stop = STOP.get(text(message, "stopReason"))
    metadata = {key: value for key, value in message.items() if key not in KNOWN}
    error = text(message, "errorMessage")
    if error:
        metadata["error"] = error
    return Message(
        id=message_id,
        role="assistant",
        parts=_parts(message, message_id),
        created_at=whole(message, "timestamp"),
        model=text(message, "model") or None,
        provider=text(message, "provider") or None,
        stop_reason="aborted" if aborting and stop == "error" else stop,
        usage=usage_of(record(message, "usage")),
        metadata=metadata,
    )


def _plain(message: dict[str, Any], message_id: str, role: Role) -> Message:
    content = message.get("content")
    parts: tuple[Part, ...] = _parts(message, message_id)
    if isinstance(content, str) and content:
        parts = (TextPart(id=f"{message_id}.0", text=content),)
    return Message(id=message_id, role=role, parts=parts, created_at=whole(message, "timestamp"))


def _tool_result(message: dict[str, Any], message_id: str) -> Message:
    part = ToolResultPart(
        id=f"{message_id}.0",
        tool_call_id=text(message, "toolCallId"),
        name=text(message, "toolName"),
        output=tool_output(message),
        is_error=message.get("isError") is True,
    )
    return Message(id=message_id, role="tool", parts=(part,), created_at=whole(message, "timestamp"))


def _foreign(message: dict[str, Any], message_id: str) -> Message:
    kind = text(message, "role", "unknown")
    shown: list[Part] = []
    words = text(message, "summary") or user_text(message)
    if words and message.get("display") is not False:
        shown.append(TextPart(id=f"{message_id}.0", text=words))
    whole_part = ExtensionPart(id=f"{message_id}.1", kind=kind, data=message)
    return Message(
        id=message_id,
        role="user" if kind == "bashExecution" else "system",
        parts=(*shown, whole_part),
        created_at=whole(message, "timestamp"),
    )


def _parts(message: dict[str, Any], message_id: str) -> tuple[Part, ...]:
    blocks = enumerate(records(message, "content"))
    return tuple(_part(block, f"{message_id}.{number}") for number, block in blocks)


def _part(block: dict[str, Any], part_id: str) -> Part:
    match block.get("type"):
        case "text":
            return TextPart(id=part_id, text=text(block, "text"))
        case "thinking":
            return ThinkingPart(id=part_id, text=text(block, "thinking"))
        case "toolCall":
            return ToolCallPart(
                id=part_id,
                tool_call_id=text(block, "id"),
                name=text(block, "name"),
                input=block.get("arguments"),
            )
        case "image":
            return ImagePart(id=part_id, data=text(block, "data"), mime_type=text(block, "mimeType"))
        case kind:
            return ExtensionPart(id=part_id, kind=str(kind), data=block)


def _with_outcomes(message: Message, outcomes: dict[str, bool]) -> Message:
    parts = tuple(_with_outcome(part, outcomes) for part in message.parts)
    return msgspec.structs.replace(message, parts=parts)


def _with_outcome(part: Part, outcomes: dict[str, bool]) -> Part:
    if not isinstance(part, ToolCallPart) or part.tool_call_id not in outcomes:
        return part
    status: ToolStatus = "error" if outcomes[part.tool_call_id] else "success"
    return msgspec.structs.replace(part, status=status)
