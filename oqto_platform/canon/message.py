"""A complete message and its parts: what an agent said, saw and did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

ToolStatus = Literal["pending", "running", "success", "error"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", rename="camel", omit_defaults=True):
    id: str = ""


class TextPart(_Part, frozen=True, tag="text"):
    text: str


class ThinkingPart(_Part, frozen=True, tag="thinking"):
    text: str


class ToolCallPart(_Part, frozen=True, tag="tool_call"):
    tool_call_id: str
    name: str
    input: Any = None
    status: ToolStatus = "pending"


class ToolResultPart(_Part, frozen=True, tag="tool_result"):
    tool_call_id: str
    name: str = ""
    output: Any = None
    is_error: bool = False
    duration_ms: int | None = None


class ImagePart(_Part, frozen=True, tag="image"):
    """An image inside the message; `data` is base64."""

    data: str
    mime_type: str
    source: Literal["base64"] = "base64"
    alt: str = ""


class ExtensionPart(_Part, frozen=True, tag="x-harness"):
    """Something only this harness knows, kept whole so that nothing is lost."""

    kind: str
    data: Any = None


Part = TextPart | ThinkingPart | ToolCallPart | ToolResultPart | ImagePart | ExtensionPart


class MessageUsage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = None


StopCause = Literal["stop", "length", "tool_use", "error", "aborted"]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One complete message. `created_at` is milliseconds since the epoch."""

    id: str
    role: Literal["user", "assistant", "system", "tool"]
    parts: tuple[Part, ...] = ()
    created_at: int = 0
    client_id: str | None = None
    model: str | None = None
    provider: str | None = None
    stop_reason: StopCause | None = None
    usage: MessageUsage | None = None
    metadata: Mapping[str, Any] = {}
