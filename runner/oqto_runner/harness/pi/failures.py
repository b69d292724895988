"""What a model's provider said, in words for a person."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from oqto_platform.canon import MODEL_FAILURES, ModelFailure
from oqto_runner.harness.pi.values import decode, record, text

BY_STATUS: dict[int, ModelFailure] = {
    401: "provider-key-refused",
    402: "provider-no-credit",
    403: "provider-refused",
    404: "model-unknown",
    413: "request-too-large",
    429: "provider-slow-down",
    502: "provider-unreachable",
    503: "provider-unavailable",
    504: "provider-unreachable",
    529: "provider-overloaded",
}
BY_WORD: dict[str, ModelFailure] = {
    "budget_exceeded": "budget-exceeded",
    "budget-exceeded": "budget-exceeded",
    "insufficient_quota": "provider-no-credit",
    "billing_error": "provider-no-credit",
    "context_length_exceeded": "request-too-large",
    "request_too_large": "request-too-large",
    "model_not_found": "model-unknown",
}
"""What providers and our proxy call it themselves, where a status alone would mislead."""
SERVER_ERROR = 500
CUT = re.compile(r"terminated|stream ended|fetch failed|connection error|socket hang up|ECONN", re.IGNORECASE)
STATUS = re.compile(r"^(?:HTTP )?([45]\d\d)\b:?\s*(.*)$", re.DOTALL)
MAX_WORDS = 2_000


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence, and its code; empty when it was not the model that failed."""

    words: str
    code: ModelFailure | Literal[""] = ""


def explain(error: str) -> Failure:
    """`503: {"message":"busy"}` → "The model provider is not available (503): busy"."""
    error = error.strip()[:MAX_WORDS] or "pi gave no reason"
    found = STATUS.match(error)
    if found is None and CUT.search(error):
        return Failure(words=f"{MODEL_FAILURES['connection-lost']}: {error}", code="connection-lost")
    if found is None:
        return Failure(words=error)
    status, rest = int(found[1]), found[2].strip()
    body = _body(rest)
    said = _said(body) if body else rest
    code = _code(status, body)
    return Failure(words=f"{MODEL_FAILURES[code]} ({status})" + (f": {said}" if said else ""), code=code)


def _body(rest: str) -> dict[str, Any]:
    start = rest.find("{")
    body = decode(rest[start:]) if start >= 0 else None
    if body is None:
        return {}
    inner = record(body, "error")
    return inner or body


def _said(body: dict[str, Any]) -> str:
    return text(body, "detail") or text(body, "message") or text(body, "error")


def _code(status: int, body: dict[str, Any]) -> ModelFailure:
    named = BY_WORD.get(text(body, "code")) or BY_WORD.get(text(body, "type"))
    general: ModelFailure = "provider-failed" if status >= SERVER_ERROR else "provider-error"
    return named or BY_STATUS.get(status, general)
