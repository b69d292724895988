"""
An HTTP proxy on a Unix socket: CONNECT and absolute-form requests, bounded in every direction.

The session is known by the socket, so there is no token. Each name is resolved once, and the address that
was checked is the one that is dialled. What travels inside a CONNECT tunnel is not looked at; without one a
connection carries a single request.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from oqto_plugin_sandbox.egress.passing import Ends, Exchange, tunnel
from oqto_plugin_sandbox.egress.requests import Denied, Target, parse
from oqto_plugin_sandbox.egress.rules import Decision, decide, is_public
from oqto_plugin_sandbox.policy.model import Network

PORT = 3128
"""Where the agent finds the proxy, on its own loopback."""

MAX_HEAD = 32 * 1024
MAX_CONNECTIONS = 256
HEAD_S, RESOLVE_S, CONNECT_S = 10.0, 10.0, 10.0

Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, from the machine's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _bound(path: Path) -> socket.socket:
    """A socket at `path`. Through its folder's descriptor, because the address of a socket has at most 107 bytes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    made = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(0o600)
    except OSError:
        made.close()
        raise
    finally:
        os.close(folder)
    return made


class EgressProxy:
    """Serves one session. `note` hears of every decision."""

    def __init__(
        self,
        network: Network,
        note: Callable[[Decision], None],
        *,
        resolver: Resolve = resolve,
        may_dial: Callable[[str], bool] = is_public,
    ) -> None:
        self._network = network
        self._note = note
        self._resolve = resolver
        self._may_dial = may_dial
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._path = ""

    async def start(self, path: str) -> None:
        """Listen on `path`, which only this user can reach."""
        self._path = path
        self._server = await asyncio.start_unix_server(self._accept, sock=_bound(Path(path)), limit=MAX_HEAD)

    async def close(self) -> None:
        """End the server and every connection."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        Path(self._path).unlink(missing_ok=True)
        self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._forward(reader, writer)
        except Denied as exc:
            await _answer(writer, exc.status, str(exc))
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
            await _answer(writer, "502 Bad Gateway", type(exc).__name__)
        finally:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
        target = parse(head)
        address = await self._address(target)
        async with asyncio.timeout(CONNECT_S):
            far = Ends(*await asyncio.open_connection(address, target.port))
        try:
            if target.plain is None:
                await tunnel(Ends(reader, writer), far)
            else:
                await Exchange(Ends(reader, writer), far).run(target.plain)
        finally:
            far.writer.close()

    async def _address(self, target: Target) -> str:
        decision = decide(self._network, target.host, target.port)
        if not decision.is_allowed:
            raise self._denied(decision)
        async with asyncio.timeout(RESOLVE_S):
            addresses = await self._resolve(decision.host, decision.port)
        if not addresses or not all(map(self._may_dial, addresses)):
            rule = "the name leads to an address of this machine or its neighbours"
            raise self._denied(msgspec.structs.replace(decision, is_allowed=False, rule=rule))
        if self._network.log_requests:
            self._note(decision)
        return addresses[0]

    def _denied(self, decision: Decision) -> Denied:
        self._note(decision)
        return Denied("403 Forbidden", f"{decision.host}:{decision.port}: {decision.rule}")


async def _answer(writer: asyncio.StreamWriter, status: str, why: str) -> None:
    """Refuse in words that the agent can read: the body of the answer names the rule."""
    body = f"oqto-sandbox: {why}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    try:
        writer.write(head.encode() + body)
        async with asyncio.timeout(HEAD_S):
            await writer.drain()
    except (OSError, TimeoutError):
        return
