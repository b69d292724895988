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

from oqto_platform.errors import ConfigError
from oqto_platform.private import private_dir

LEVELS = {"off": 60, "error": 40, "warn": 30, "warning": 30, "info": 20, "debug": 10, "trace": 0}
METHODS = {"critical": 50, "exception": 40, "error": 40, "warn": 30, "warning": 30, "info": 20, "debug": 10}
SECRET_FIELD = re.compile(r"(?i)(password|secret|token|cookie|authorization|api_?key|master_?key|_key)$")
SECRET_TEXT = re.compile(
    r"(eavs-|sk-|octo_sk_)[A-Za-z0-9_\-]{8,}|eyJ[\w-]{10,}\.[\w-]+\.[\w-]+|(?<=#/setup/)[\w-]{8,}"
)


def set_up(
    level: str, *, file: str = "", env: Mapping[str, str] = os.environ, out: TextIO = sys.stderr
) -> None:
    """
    Configure logging of this process. `OQTO_LOG`, then `RUST_LOG`, win over `level`.

    They hold a level, or several directives such as `info,oqto.mux=debug`: the longest name that fits a logger
    counts for it. What names no logger of ours is ignored.
    """
    chosen = _now.directives = Directives(env.get("OQTO_LOG") or env.get("RUST_LOG") or "", level)
    stream: Any = _opened.replace(_Tee(out, Path(file))) if file else _opened.replace(out)
    structlog.configure(
        processors=[
            *([chosen.drop] if chosen.by_name else []),
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            _name,
            redact,
            _renderer(out, has_colours="NO_COLOR" not in env),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(chosen.lowest),
        logger_factory=_Factory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        level=max(chosen.default, logging.WARNING), stream=stream, format="%(levelname)s %(name)s %(message)s"
    )


def check_variable(env: Mapping[str, str]) -> None:
    """
    Raise `ConfigError` when `OQTO_LOG` says what nobody understands.

    `RUST_LOG` is not ours alone: what it says to other programs is passed over.
    """
    for piece in filter(None, (piece.strip() for piece in env.get("OQTO_LOG", "").split(","))):
        word = piece.rpartition("=")[2]
        if word.lower() not in LEVELS:
            raise ConfigError(f"OQTO_LOG: {word!r} is none of {', '.join(map(repr, LEVELS))}")


def _renderer(out: TextIO, *, has_colours: bool) -> Any:
    """For eyes on a terminal; for programs anywhere else."""
    if out.isatty():
        return structlog.dev.ConsoleRenderer(colors=has_colours)
    return structlog.processors.JSONRenderer()


def is_shown(logger: str, method: str) -> bool:
    """Whether a line would be written; for who would do much for a line that is not."""
    return METHODS[method] >= _now.directives.level(logger)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values of secret-looking fields and key-shaped texts by `***`, however deep they lie."""
    for name, value in event.items():
        event[name] = clean(name, value)
    return event


def clean(name: object, value: Any) -> Any:
    """`value` of the field `name` as it may be shown."""
    if isinstance(name, str) and SECRET_FIELD.search(name):
        return "***"
    if isinstance(value, str):
        return SECRET_TEXT.sub("***", value)
    if isinstance(value, bytes):
        return SECRET_TEXT.sub("***", repr(value))
    if isinstance(value, Mapping):
        return {inner: clean(inner, item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean("", item) for item in value]
    return value


class Directives:
    """What `RUST_LOG` says: a level for all, and levels for loggers by the beginning of their names."""

    def __init__(self, text: str, level: str) -> None:
        self.default = LEVELS.get(level, 20)
        self.by_name: dict[str, int] = {}
        for part in filter(None, (piece.strip().lower() for piece in text.split(","))):
            name, _, word = part.rpartition("=")
            if word not in LEVELS:
                continue
            if name:
                self.by_name[name.replace("::", ".")] = LEVELS[word]
            else:
                self.default = LEVELS[word]
        self.lowest = min([self.default, *self.by_name.values()])
        self.lowest = self.lowest if self.lowest in (0, 10, 20, 30, 40, 50) else 50

    def level(self, logger: str) -> int:
        """The level of one logger."""
        fitting = [name for name in self.by_name if logger == name or logger.startswith(f"{name}.")]
        return self.by_name[max(fitting, key=len)] if fitting else self.default

    def drop(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor."""
        if METHODS.get(method, 20) < self.level(getattr(logger, "name", "")):
            raise structlog.DropEvent
        return event


class _Now:
    """What this process was set up with last."""

    directives = Directives("", "info")


_now = _Now()


class _Factory:
    """Makes the loggers that write lines; each knows its name."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __call__(self, *names: Any) -> _Line:
        return _Line(self.stream, str(names[0]) if names else "")


class _Line(structlog.PrintLogger):
    def __init__(self, stream: Any, name: str) -> None:
        super().__init__(stream)
        self.name = name


def _name(logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if name := getattr(logger, "name", ""):
        event["logger"] = name
    return event


class _Stream:
    """What is written to now. Setting up again (the file is another) closes what was opened before."""

    def __init__(self) -> None:
        self._current: Any = None

    def replace(self, stream: Any) -> Any:
        """`stream`, from now on."""
        before, self._current = self._current, stream
        if isinstance(before, _Tee):
            before.close()
        return stream


def check(file: str) -> None:
    """Raise `ConfigError` when nothing can be written to the log file. Makes an empty one."""
    try:
        private_dir(Path(file).parent)
        os.close(_open(Path(file)))
    except OSError as exc:
        raise ConfigError(
            f"[logging] file: cannot write {file}: {exc.strerror}; mend it, or remove the key"
        ) from exc


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


class _Tee:
    """A stream that also writes to a file (0600)."""

    def __init__(self, out: TextIO, path: Path) -> None:
        private_dir(path.parent)
        handle = _open(path)
        self._streams: tuple[Any, ...] = (out, os.fdopen(handle, "a", buffering=1))

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()

    def isatty(self) -> bool:
        return bool(self._streams[0].isatty())

    def close(self) -> None:
        """Close the file; what still holds this stream goes on to the terminal."""
        self._streams, (_, file) = self._streams[:1], self._streams
        file.close()


_opened = _Stream()
