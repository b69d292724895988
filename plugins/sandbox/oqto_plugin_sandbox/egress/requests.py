"""
What a request to the proxy asks for: a tunnel, or one plain exchange that is written anew for its server.

The length of a plain request's body is read by the strict rules of RFC 9112, section 6: what two readers could
read differently is refused, so that no second request can travel as a part of the first.
"""

from __future__ import annotations

import re

import msgspec

_HOST = rb"([^\s/:@\[\]?#\0]{1,253}|\[[0-9A-Fa-f:.%]{2,60}\])"
"""An IPv6 address is understood so that its denial is told and noted; no list can name one."""

_CONNECT = re.compile(rb"CONNECT " + _HOST + rb":([0-9]{1,5}) HTTP/1\.[01]")
_ABSOLUTE = re.compile(
    rb"(?!CONNECT )([A-Z]{1,20}) http://"
    + _HOST
    + rb"(?::([0-9]{1,5}))?(/[^\s\0]*|\?[^\s\0]*)? HTTP/1\.[01]",
)
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0]*)")
_HOP_BY_HOP = re.compile(rb"(?i)host|proxy-[a-z-]+|connection|keep-alive|te|trailer|upgrade")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class Denied(Exception):
    """The proxy's no, with the status of its answer."""

    def __init__(self, status: str, rule: str) -> None:
        super().__init__(rule)
        self.status = status


class Plain(msgspec.Struct, frozen=True):
    """One exchange without a tunnel."""

    head: bytes
    """What to send first."""
    length: int | None
    """Bytes of the body that follows; `None`: in chunks."""


class Target(msgspec.Struct, frozen=True):
    """Where a request wants to go; `plain` is missing for a tunnel."""

    host: str
    port: int
    plain: Plain | None = None


def parse(head: bytes) -> Target:
    """Read a request's head, blank line included. Raises `Denied` (400)."""
    line, _, rest = head.partition(b"\r\n")
    if found := _CONNECT.fullmatch(line):
        return Target(_text(found[1]), _port(found[2]))
    if found := _ABSOLUTE.fullmatch(line):
        method, host, port, path = found[1], _text(found[2]), _port(found[3] or b"80"), found[4] or b"/"
        path = path if path[:1] == b"/" else b"/" + path
        return Target(host, port, _rewritten(method + b" " + path, host, port, rest))
    raise Denied("400 Bad Request", "only CONNECT and requests with a full http:// address")


def _rewritten(asked: bytes, host: str, port: int, rest: bytes) -> Plain:
    """For the server itself: path only, our own Host, no headers that are meant for the proxy."""
    fields = [_field(line) for line in rest.split(b"\r\n") if line]
    name = host if port == 80 else f"{host}:{port}"  # noqa: PLR2004 - the port that http:// means
    first = [asked + b" HTTP/1.1", b"Host: " + name.encode("ascii"), b"Connection: close"]
    kept = [b"%b: %b" % field for field in fields if not _HOP_BY_HOP.fullmatch(field[0])]
    return Plain(b"\r\n".join([*first, *kept]) + b"\r\n\r\n", _body_length(fields))


def _field(line: bytes) -> tuple[bytes, bytes]:
    if (found := _FIELD.fullmatch(line)) is None:
        raise Denied("400 Bad Request", "malformed header")
    return found[1], found[2].strip(b" \t")


def _body_length(fields: list[tuple[bytes, bytes]]) -> int | None:
    framing = [(name.lower(), value) for name, value in fields]
    framing = [field for field in framing if field[0] in (b"content-length", b"transfer-encoding")]
    if not framing:
        return 0
    if len(framing) == 1:
        name, value = framing[0]
        if name == b"content-length" and _LENGTH.fullmatch(value):
            return int(value)
        if name == b"transfer-encoding" and value.lower() == b"chunked":
            return None
    raise Denied("400 Bad Request", "a body whose length can be read in two ways")


def _text(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as exc:
        raise Denied("400 Bad Request", "not a host name") from exc


def _port(raw: bytes) -> int:
    port = int(raw)
    if not 0 < port < 65536:  # noqa: PLR2004 - what a port is
        raise Denied("400 Bad Request", "not a port")
    return port
