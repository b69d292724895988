"""The frames of `/api/ws/mux`: what a client sends, and how our answers are written."""

from __future__ import annotations

from typing import Any

import msgspec

from oqto_platform.canon import Command
from oqto_platform.errors import Invalid, OqtoError

OWN = frozenset({"subscribe", "unsubscribe"})
EVENT_PREFIX = b'{"channel":"agent",'


class Head(msgspec.Struct, frozen=True):
    """What every command frame has, whatever its `cmd`."""

    channel: str
    cmd: str = ""
    id: str | None = None
    session_id: str = ""
    after: int = 0
    lines: bool = False


_head = msgspec.json.Decoder(Head)
_command = msgspec.json.Decoder(Command)
_encode = msgspec.json.Encoder().encode


def read_head(text: str | bytes) -> Head:
    """Raises `Invalid` in words for anything that is not a command frame."""
    try:
        head = _head.decode(text)
    except msgspec.DecodeError as exc:
        raise Invalid(f"not a command frame: {exc}") from exc
    if head.channel != "agent":
        raise Invalid(f"channel: {head.channel!r} is not a channel of this server; known: agent", id=head.id)
    if not head.session_id:
        raise Invalid("session_id: missing", id=head.id)
    return head


def read_command(text: str | bytes, head: Head) -> Command:
    """The canonical command of a frame; raises `Invalid` that names the field."""
    try:
        command: Command = _command.decode(text)
    except msgspec.DecodeError as exc:
        raise Invalid(f"{head.cmd or 'cmd'}: {exc}") from exc
    return command


def done(head: Head, data: Any = None) -> str:
    """The reply of success."""
    fields = {
        "channel": "agent",
        "event": "response",
        "id": head.id,
        "session_id": head.session_id,
        "cmd": head.cmd,
    }
    return _encode(fields | {"success": True, "data": data}).decode()


def failed(head: Head, exc: OqtoError) -> str:
    """The reply of failure, with the same problem that HTTP would give."""
    fields = {
        "channel": "agent",
        "event": "response",
        "id": head.id,
        "session_id": head.session_id,
        "cmd": head.cmd,
    }
    return _encode(fields | {"success": False, "error": exc.to_problem()}).decode()


def system(kind: str, **fields: Any) -> str:
    """A frame of the system channel."""
    return _encode({"channel": "system", "type": kind, **fields}).decode()


def events(lines: list[bytes]) -> str:
    """Several event lines in one frame, one a line: 100,000 frames would take ten times as long."""
    return b"\n".join([EVENT_PREFIX + line[1:] for line in lines]).decode()


def event(line: bytes) -> str:
    """An event line of the log, marked with its channel; the JSON itself is not touched."""
    return (EVENT_PREFIX + line[1:].rstrip(b"\n")).decode()
