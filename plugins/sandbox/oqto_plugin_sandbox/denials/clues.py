"""
Clues in a tool's words that a path or an address was denied: sans-I/O, and deliberately narrow.

Nobody watches the agent's system calls. What is known is what a tool was asked and what it answered, so an
answer that sounds like an error, and the paths and addresses near it, are compared with the policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

MAX_CHARS = 16 * 1024
MAX_PATHS = 40

_READING = re.compile(
    r"no such file|not found|permission denied|cannot access|cannot open|can.t cd to|ENOENT|EACCES|not a directory",
    re.IGNORECASE,
)
_WRITING = re.compile(
    r"read-only file ?system|operation not permitted|permission denied|device or resource busy|cannot (?:create|touch|remove|"
    r"move|overwrite)|EROFS|EPERM|EACCES|EBUSY",
    re.IGNORECASE,
)
_REACHING = re.compile(
    r"connection refused|could ?n[o']t (?:resolve|connect)|failed to connect|unreachable|not known|name resolution|"
    r"no route to host|timed out|getaddrinfo|ECONNREFUSED|ENETUNREACH|EAI_AGAIN|ENOTFOUND|ETIMEDOUT",
    re.IGNORECASE,
)
_LIMITS = (
    ("limits.file_size_mb", re.compile(r"file too large|EFBIG|file size limit exceeded", re.IGNORECASE)),
    ("limits.open_files", re.compile(r"too many open files|EMFILE", re.IGNORECASE)),
    ("limits.cpu_seconds", re.compile(r"cpu time limit exceeded", re.IGNORECASE)),
)
_SPEAKER = re.compile(r"^\S+: (?:line )?(?=\d+: )")
"""A shell that reports for its script: its own path is no clue."""

_QUOTED = re.compile(
    r"""['"`\u2018\u201c]((?:~|\.{0,2}/|[\w.])[^'"`\u2019\u201d\n]{0,4095})['"`\u2019\u201d]"""
)
_PLAIN = re.compile(
    r"""(?:^|(?<=[\s=(:<>|;&,'"`]))((?:~|\$HOME|\.{1,2})?/[^\s'"`:;|&<>(),]+|[\w.-]+/[^\s'"`:;|&<>(),]+|\.[\w.-]+)"""
)
_URL = re.compile(
    r"\b[a-z][a-z0-9+.-]{0,9}://(?:[^\s/@'\"]{0,255}@)?(\[[^\]\s]{1,45}\]|[^\s/:'\"?#\[\]]{1,253})(?::(\d{1,5}))?",
    re.IGNORECASE,
)
_PAIR = re.compile(
    r"(?<![\w./-])(localhost|\d{1,3}(?:\.\d{1,3}){3}|(?:[\w-]+\.)+[a-z]{2,})"
    r"(?::|\s+port\s+|/|['\"]?,?[ \t]+)(\d{1,5})(?![\w.])",
    re.IGNORECASE,
)
_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418, "ftp": 21}
MAX_PORT = 65535


class Clues(NamedTuple):
    """Paths as they were written, addresses as host and port, keys of limits."""

    read: list[str]
    written: list[str]
    reached: list[tuple[str, int]]
    limits: list[str]


def find(asked: Any, answered: Any, *, is_error: bool = False) -> Clues:
    """Clues in the input and output of one tool call. One that fails without a known word is asked for all it named."""
    lines = "\n".join(texts(answered))[-MAX_CHARS:].splitlines()
    question = "\n".join(texts(asked))[:MAX_CHARS]
    written = [_SPEAKER.sub("", line) for line in lines if _WRITING.search(line)]
    failed = [_SPEAKER.sub("", line) for line in lines if _READING.search(line)] + written
    far = [line for line in lines if _REACHING.search(line)]
    is_dumb = is_error and not failed and not far
    return Clues(
        read=_paths("\n".join([*failed, question])) if failed or is_dumb else [],
        written=_paths("\n".join(written)),
        reached=_addresses("\n".join([*far, question])) if far or is_dumb else [],
        limits=[key for key, sign in _LIMITS if any(map(sign.search, lines))],
    )


def texts(value: Any) -> Iterator[str]:
    """Every text inside a JSON-able value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts(inner)


def _paths(text: str) -> list[str]:
    found = [match[1] for pattern in (_QUOTED, _PLAIN) for match in pattern.finditer(text)]
    whole = [line for line in text.splitlines() if "/" in line and " " not in line.strip()]
    return _first(path.strip().rstrip(".,:;!?") for path in (*found, *whole))


def _addresses(text: str) -> list[tuple[str, int]]:
    urls = [
        (match[1].strip("[]"), int(match[2] or _PORTS.get(match[0].partition(":")[0].lower(), 443)))
        for match in _URL.finditer(text)
    ]
    pairs = [(match[1], int(match[2])) for match in _PAIR.finditer(_URL.sub(" ", text))]
    return [(host.lower(), port) for host, port in dict.fromkeys([*urls, *pairs]) if 0 < port <= MAX_PORT]


def _first(found: Iterable[str]) -> list[str]:
    return [path for path in dict.fromkeys(found) if path][:MAX_PATHS]
