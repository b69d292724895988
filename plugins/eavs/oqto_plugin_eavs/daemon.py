"""
The process `oqto-eavs serve`: ledger, proxy on TCP and on a Unix socket, control socket, one event loop.

It belongs to nobody's lifetime: a killed core leaves it running, and the next one finds it by its control
socket. SIGTERM ends it within three seconds with every open call billed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec
import structlog

from oqto_platform import peers
from oqto_platform.errors import Internal, Invalid, OqtoError

from . import control
from .admission import Till
from .crew import Crew
from .desk import Desk, Parts
from .express import Express
from .keys import Keys
from .ledger import Ledger
from .metrics import Metrics
from .providers import Registry
from .proxy import Limits, Proxy
from .server import BACKLOG, Server
from .shelf import Shelf
from .store import Store
from .upstream import Pool
from .vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

    from .place import Place

log = structlog.get_logger("oqto.eavs")

PATH_LIMIT = 107
REQUEST_S = 30.0


async def serve(place: Place) -> None:
    """Run until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, stopping.set)
    async with AsyncExitStack() as stack:
        await _build(place, stack)
        log.info("LLM proxy ready", address=f"{place.host}:{place.port}", pid=os.getpid())
        await stopping.wait()
        log.info("LLM proxy stops")


async def _build(place: Place, stack: AsyncExitStack) -> None:
    for folder in (place.state, place.data):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_free(place)
    store, ledger, keys = await _open_books(place, stack)
    metrics = Metrics(ledger, store)
    pool, till = Pool(ca_file=place.ca_file), Till(keys, ledger, metrics)
    proxy = Proxy(till=till, registry=Registry(), pool=pool, limits=Limits())
    crew = Crew(proxy, keys, ledger, metrics)
    shelf = Shelf(store, Vault(place.data / "vault.key"))
    parts = Parts(store=store, ledger=ledger, keys=keys, proxy=proxy, metrics=metrics, crew=crew, shelf=shelf)
    desk = Desk(parts, place)
    await desk.load()
    await _serve(parts, place, stack)
    stack.callback(place.control_socket.unlink, missing_ok=True)
    # Last, because whoever started us takes this socket's answer for readiness.
    await stack.enter_async_context(await _open_door(place.control_socket, desk))


async def _open_books(place: Place, stack: AsyncExitStack) -> tuple[Store, Ledger, Keys]:
    """What was spent and which keys are in force, with what a crash left settled."""
    store = Store(place.data / "ledger.db", is_durable=place.is_durable)
    stack.push_async_callback(store.close)
    ledger = Ledger(store)
    if left := await ledger.load():
        log.warning("calls were cut off by a crash and are billed at their estimate", calls=left)
    keys = Keys(store, ledger)
    await keys.load()
    await ledger.recall(keys.flow_of)
    return store, ledger, keys


async def _serve(parts: Parts, place: Place, stack: AsyncExitStack) -> None:
    """Take calls, here or in workers."""
    listeners = _listen(place, stack)
    if place.workers > 1:
        stack.push_async_callback(parts.crew.close)
        await parts.crew.start(place, listeners)
        return
    express = Express(parts.proxy, parts.keys, parts.ledger)
    server = Server(parts.proxy.handle, express.take)
    stack.callback(server.close)
    for listener in listeners:
        await server.listen_on(listener)
    stack.push_async_callback(parts.proxy.close)


def _listen(place: Place, stack: AsyncExitStack) -> list[socket.socket]:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    tcp, unix = socket.socket(family), socket.socket(socket.AF_UNIX)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind((place.host, place.port))
    unix.bind(str(place.llm_socket))
    place.llm_socket.chmod(place.llm_mode)
    stack.callback(place.llm_socket.unlink, missing_ok=True)
    for listener in (tcp, unix):
        stack.callback(listener.close)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    return [tcp, unix]


def _check_free(place: Place) -> None:
    for path in (place.llm_socket, place.control_socket, place.till_socket):
        if len(os.fsencode(path)) > PATH_LIMIT:
            raise Invalid(
                f"the socket path {path} is longer than {PATH_LIMIT} bytes; choose a shorter state directory"
            )
        if _is_served(path):
            raise Invalid(f"an LLM proxy already runs on {path}")
        path.unlink(missing_ok=True)
    with socket.socket(socket.AF_INET6 if ":" in place.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((place.host, place.port))
        except OSError as exc:
            text = f"{place.host}:{place.port} cannot be listened on ({exc.strerror}); change eavs.base_url, or end the program that listens there"
            raise Invalid(text) from exc


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


async def _open_door(path: Path, desk: Desk) -> asyncio.AbstractServer:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                await _exchange(desk, reader, writer)
        except (OSError, TimeoutError, ValueError):
            log.info("a control connection ended early")
        finally:
            writer.close()

    previous = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(accept, path, limit=control.LIMIT)
    finally:
        os.umask(previous)


async def _exchange(desk: Desk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if peers.uid_of(writer.get_extra_info("socket")) not in (os.getuid(), 0):
        return
    line = await reader.readline()
    if not line:
        return
    reply: control.Reply
    try:
        reply = await desk.answer(control.decode_request(line))
    except OqtoError as exc:
        reply = control.Failed(problem=exc.to_problem())
    except msgspec.DecodeError as exc:
        reply = control.Failed(problem=Invalid(f"not a request: {exc}").to_problem())
    except Exception as exc:  # whatever it is, the peer gets an answer and the log the cause
        log.exception("a control request failed")
        reply = control.Failed(
            problem=Internal(f"{type(exc).__name__}; see the log of oqto-eavs").to_problem()
        )
    writer.write(control.encode(reply) + b"\n")
    await writer.drain()
