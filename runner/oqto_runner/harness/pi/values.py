"""Reading pi's JSON: it is not ours, so every field may be missing or of another kind."""

from __future__ import annotations

from typing import Any

import msgspec


def decode(line: bytes | str) -> dict[str, Any] | None:
    """The JSON object in `line`; `None` when it holds none."""
    try:
        value = msgspec.json.decode(line)
    # Bytes that are no UTF-8 raise outside of msgspec's own tree of errors.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def text(source: dict[str, Any], key: str, default: str = "") -> str:
    value = source.get(key)
    return value if isinstance(value, str) else default


def whole(source: dict[str, Any], key: str, default: int = 0) -> int:
    value = source.get(key)
    return int(value) if isinstance(value, (int, float)) and abs(value) < 2**53 else default


def fraction(source: dict[str, Any], key: str) -> float | None:
    value = source.get(key)
    return float(value) if isinstance(value, (int, float)) else None


def record(source: dict[str, Any], key: str) -> dict[str, Any]:
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def items(source: dict[str, Any], key: str) -> list[Any]:
    value = source.get(key)
    return value if isinstance(value, list) else []


def records(source: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [value for value in items(source, key) if isinstance(value, dict)]


def texts(source: dict[str, Any], key: str) -> tuple[str, ...]:
    return tuple(value for value in items(source, key) if isinstance(value, str))
