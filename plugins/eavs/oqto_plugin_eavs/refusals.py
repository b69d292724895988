"""
How the proxy says no: in the shape that the caller's own client library understands.

Agents retry by the text of an error, so the sentence about money holds no digits and none of the words
they look for ("rate limit", "overloaded", "terminated"…), and asks for no retry in a header.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from oqto_platform.errors import OqtoError

Dialect = Literal["chat", "messages", "responses", "gemini", "embeddings"]

OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
GEMINI_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


SERVER_ERROR = 500
UsedUp = tuple[str, int]
"""What there is no more of for now, `requests` or `tokens`, and how many there are in all."""
NONE: UsedUp = ("", 0)


class Refused(OqtoError):
    """A call that does not reach a provider. `status` and `reason` are per instance."""

    code, title = "call-refused", "Call refused"

    def __init__(
        self,
        http_status: int,
        reason: str,
        detail: str,
        *,
        retry_after_s: float = 0.0,
        used_up: UsedUp = NONE,
    ) -> None:
        super().__init__(detail, reason=reason)
        self.http_status, self.reason, self.retry_after_s = http_status, reason, retry_after_s
        self.used_up = used_up


def body(dialect: Dialect, status: int, reason: str, sentence: str, request_id: str) -> dict[str, Any]:
    """The error object of a dialect."""
    if dialect == "messages":
        kind = ANTHROPIC_TYPES.get(status, _other(status))
        return {"type": "error", "error": {"type": kind, "message": sentence}, "request_id": request_id}
    if dialect == "gemini":
        other = "INVALID_ARGUMENT" if status < SERVER_ERROR else "INTERNAL"
        kind = GEMINI_STATUSES.get(status, other)
        return {"error": {"code": status, "message": sentence, "status": kind}}
    kind = OPENAI_TYPES.get(status, _other(status))
    return {"error": {"message": sentence, "type": kind, "param": None, "code": reason}}


def _other(status: int) -> str:
    return "invalid_request_error" if status < SERVER_ERROR else "api_error"


def headers(refused: Refused, request_id: str) -> list[tuple[bytes, bytes]]:
    """The headers of a refusal: what it is, who it was, and when to come again."""
    found = [(b"content-type", b"application/json")]
    if request_id:
        found.append((b"x-eavs-request-id", request_id.encode()))
    if refused.retry_after_s:
        found.append((b"retry-after", b"%d" % max(1, -int(-refused.retry_after_s // 1))))
        found.append((b"retry-after-ms", b"%d" % (refused.retry_after_s * 1000 + 1)))
        found += _limit(refused)
    elif refused.http_status not in (502, 503, 504):
        found.append((b"x-should-retry", b"false"))
    return found


def _limit(refused: Refused) -> list[tuple[bytes, bytes]]:
    what, most = refused.used_up
    values = (("limit", f"{most}"), ("remaining", "0"), ("reset", f"{refused.retry_after_s:.3f}s"))
    return [(f"x-ratelimit-{name}-{what}".encode(), value.encode()) for name, value in values if what]


def encode(dialect: Dialect, refused: Refused, request_id: str) -> bytes:
    """The body of a refusal."""
    return msgspec.json.encode(body(dialect, refused.http_status, refused.reason, refused.detail, request_id))


def event(dialect: Dialect, sentence: str, request_id: str) -> bytes:
    """An error inside a stream that has begun."""
    if dialect == "responses":
        fields = {"type": "error", "code": "upstream_error", "message": sentence, "param": None}
        return b"event: error\ndata: " + msgspec.json.encode(fields) + b"\n\n"
    data = msgspec.json.encode(body(dialect, 502, "upstream_error", sentence, request_id))
    return (b"event: error\n" if dialect == "messages" else b"") + b"data: " + data + b"\n\n"


def message(refused: Refused) -> str:
    """An error inside a WebSocket."""
    shape = body("responses", refused.http_status, refused.reason, refused.detail, "")
    return msgspec.json.encode({"type": "error", "status": refused.http_status, **shape}).decode()
