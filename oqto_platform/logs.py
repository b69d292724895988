"""structlog, set up once per process: lines for people on a terminal, JSON otherwise; secrets redacted."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

LEVELS = {"error": 40, "warn": 30, "warning": 30, "info": 20, "debug": 10, "trace": 5}
SECRET_FIELD = re.compile(r"(?i)(password|secret|token|cookie|authorization|api_?key|master_?key|_key)$")
SECRET_TEXT = re.compile(r"(eavs-|sk-|octo_sk_)[A-Za-z0-9_\-]{8,}|eyJ[\w-]{10,}\.[\w-]+\.[\w-]+")


def set_up(
    level: str, *, file: str = "", env: Mapping[str, str] = os.environ, out: TextIO = sys.stderr
) -> None:
    """Configure logging of this process. `OQTO_LOG`, then `RUST_LOG`, win over `level`."""
    chosen = _level(env.get("OQTO_LOG") or env.get("RUST_LOG") or level, level)
    stream: Any = _Tee(out, Path(file)) if file else out
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=True) if out.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(chosen),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        level=max(chosen, logging.WARNING), stream=stream, format="%(levelname)s %(name)s %(message)s"
    )


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values of secret-looking fields and key-shaped texts by `***`, however deep they lie."""
    for name, value in event.items():
        event[name] = _clean(name, value)
    return event


def _clean(name: object, value: Any) -> Any:
    if isinstance(name, str) and SECRET_FIELD.search(name):
        return "***"
    if isinstance(value, str):
        return SECRET_TEXT.sub("***", value)
    if isinstance(value, bytes):
        return SECRET_TEXT.sub("***", repr(value))
    if isinstance(value, Mapping):
        return {inner: _clean(inner, item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", item) for item in value]
    return value


def _level(text: str, fallback: str) -> int:
    # RUST_LOG may hold filters such as `info,oqto=debug`; the first plain level counts.
    words = [word.strip().lower() for word in text.split(",")]
    return next((LEVELS[word] for word in words if word in LEVELS), LEVELS.get(fallback, 20))


class _Tee:
    """A stream that also writes to a file (0600)."""

    def __init__(self, out: TextIO, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._streams = (out, os.fdopen(handle, "a", buffering=1))

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()

    def isatty(self) -> bool:
        return self._streams[0].isatty()
