"""What a model's provider said, in words for a person."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from oqto_runner.harness.pi.values import decode, record, text

MEANING = {
    401: "The model provider does not accept the key",
    402: "The money set aside for models is used up",
    403: "The model provider refused the request",
    404: "The model provider does not know this model",
    413: "The request is too large for the model",
    429: "The model provider asks to slow down",
    500: "The model provider failed",
    502: "The model provider cannot be reached",
    503: "The model provider is not available",
    529: "The model provider is overloaded",
}
CUT = re.compile(r"terminated|stream ended|fetch failed|connection error|socket hang up|ECONN", re.IGNORECASE)
STATUS = re.compile(r"^(?:HTTP )?([45]\d\d)\b:?\s*(.*)$", re.DOTALL)
MAX_WORDS = 2_000


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence, and a code for programs: the provider's own, else `http-STATUS`, else empty."""

    words: str
    code: str = ""


def explain(error: str) -> Failure:
    """`503: {"message":"busy"}` → "The model provider is not available (503): busy"."""
    error = error.strip()[:MAX_WORDS] or "pi gave no reason"
    found = STATUS.match(error)
    if found is None and CUT.search(error):
        return Failure(
            words=f"The connection to the model provider broke off: {error}", code="connection-lost"
        )
    if found is None:
        return Failure(words=error)
    status, rest = int(found[1]), found[2].strip()
    body = _body(rest)
    said = _said(body) if body else rest
    meaning = MEANING.get(status, "The model provider answered with an error")
    return Failure(
        words=f"{meaning} ({status})" + (f": {said}" if said else ""), code=_code(body) or f"http-{status}"
    )


def _body(rest: str) -> dict[str, Any]:
    start = rest.find("{")
    body = decode(rest[start:]) if start >= 0 else None
    if body is None:
        return {}
    inner = record(body, "error")
    return inner or body


def _said(body: dict[str, Any]) -> str:
    return text(body, "detail") or text(body, "message") or text(body, "error")


def _code(body: dict[str, Any]) -> str:
    return text(body, "code")
