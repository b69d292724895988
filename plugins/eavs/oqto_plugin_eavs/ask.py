"""What the proxy reads of a request; the rest passes unread."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from . import once
from .refusals import Refused

MOST_CHOICES = 1_024
"""Replies to one request: vendors allow 8 to 128. Money is set aside for each."""
Choices = Annotated[int, msgspec.Meta(ge=1, le=MOST_CHOICES)]


class Generation(msgspec.Struct):
    """Where Gemini has them."""

    maxOutputTokens: int | None = None  # noqa: N815 the vendor's names
    candidateCount: Choices | None = None  # noqa: N815


class Ask(msgspec.Struct):
    """The fields that decide what a call may cost and how its reply is read."""

    model: str | None = None
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    stream_options: dict[str, Any] | None = None
    service_tier: str | None = None
    n: Choices | None = None
    generationConfig: Generation | None = None  # noqa: N815


ASKED = frozenset(Ask.__struct_fields__) - {"generationConfig"}
"""What is looked for in a long body: no objects, which may be long themselves, as Gemini's with its schema."""
decode_ask = msgspec.json.Decoder(Ask).decode
_decode_once = once.decoder(Ask)


def understand(body: bytes) -> Ask:
    """The fields of a request, each of which stands in it once; raises `Refused` (400)."""
    try:
        return _decode_once(body)
    except once.Twice as exc:
        raise Refused(400, "invalid_request", f"The request names {str(exc)!r} twice.") from exc
    except msgspec.ValidationError as exc:
        raise Refused(400, "invalid_request", f"The request is not what this path takes: {exc}.") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Refused(400, "invalid_json", f"The body is not JSON: {exc}.") from exc
    except RecursionError as exc:
        raise Refused(400, "invalid_json", "The body is nested too deeply.") from exc


def as_object(values: dict[str, bytes]) -> bytes:
    """Some fields of a request as a JSON object of their own."""
    return b"{" + b",".join(msgspec.json.encode(k) + b":" + v for k, v in values.items()) + b"}"
