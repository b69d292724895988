"""Unix sockets whose other end is known: connect to an expected account, ask one line, get one line."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import TypeVar

P = TypeVar("P", bound=asyncio.Protocol)


def uid_of(connection: socket.socket) -> int:
    """The uid of the process at the other end, as the kernel knows it."""
    return _credentials(connection)[1]


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    return pid, uid, gid


def listener_pid(path: str) -> int | None:
    """The process that listens on a Unix socket, from the kernel; `None` when nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return None
        return _credentials(probe)[0]


async def connect(
    path: str, expected_uid: int | None, *, limit: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """
    A connection to the socket at `path`, with lines of up to `limit` bytes.

    Raises `OSError`, and `PermissionError` when another account than `expected_uid` or root answers. Root may be
    anybody, and a socket that systemd holds is root's until its daemon takes it over.
    """
    reader, writer = await asyncio.open_unix_connection(path, limit=limit)
    _must_be(expected_uid, writer.transport, path)
    return reader, writer


async def attach(path: str, expected_uid: int | None, protocol: Callable[[], P]) -> P:
    """A connection to the socket at `path` that `protocol` speaks. Raises as `connect` does."""
    transport, made = await asyncio.get_running_loop().create_unix_connection(protocol, path)
    _must_be(expected_uid, transport, path)
    return made


def _must_be(expected_uid: int | None, transport: asyncio.BaseTransport, path: str) -> None:
    uid = uid_of(transport.get_extra_info("socket"))
    if expected_uid is not None and uid not in (expected_uid, 0):
        transport.close()
        raise PermissionError(f"uid {uid} answers on {path}, expected {expected_uid}; not talking to it")


async def ask(path: str, line: bytes, expected_uid: int | None, *, limit: int) -> bytes:
    """One line asked, one answered. Raises `OSError` as `connect` does, and when the other end has no answer."""
    reader, writer = await connect(path, expected_uid, limit=limit)
    try:
        writer.write(line + b"\n")
        await writer.drain()
        answer = await reader.readline()
    finally:
        writer.close()
    if not answer.endswith(b"\n"):
        raise ConnectionResetError("it closed the connection before it answered")
    return answer
