"""The runner's door: one exchange per connection, and only for those who may."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import structlog

from oqto_platform import wire
from oqto_platform.errors import Forbidden, Internal, Invalid, OqtoError
from oqto_platform.hooks import HookError
from oqto_runner.answers import Answers

REQUEST_TIMEOUT_S = 30.0
LINGER_S = 1.0
PUSH_LIMIT = 64 * 1024
"""Bytes that may wait for a follower before it is left to read the log."""
log = structlog.get_logger("oqto.server")


class Server:
    """Answers connections; `allowed` are the uids that may ask."""

    def __init__(self, answers: Answers, allowed: frozenset[int]) -> None:
        self._answers = answers
        self._allowed = allowed
        self._connections: set[asyncio.Task[Any]] = set()

    @property
    def has_connections(self) -> bool:
        return bool(self._connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its request to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._exchange(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the other side left, or the runner ends
        except Exception:  # a peer or a plugin may cause anything; the next connection must be served
            log.exception("exchange failed")
        finally:
            self._connections.discard(task)
            writer.close()

    async def close(self) -> None:
        """Let every connection go."""
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=1.0)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            uid = self._checked_uid(writer)
            request = await _request(reader)
            if isinstance(request, wire.Follow):
                await _stream(partial(self._relay, request, writer), reader)
                return
            if isinstance(request, wire.Watch):
                await _stream(partial(_pass_on, self._answers.sessions.watch(), writer), reader)
                return
            reply: wire.Reply = await self._answers.answer(request, uid)
        except OqtoError as exc:
            reply = wire.failed(_in_words(exc))
        except ConnectionError:  # gone without a request, or in the middle: somebody looked whether we live
            return
        except Exception:  # a plugin may raise anything; the caller gets an answer and the log the cause
            log.exception("request failed")
            reply = wire.failed(Internal("the runner could not do this; its log has the cause"))
        await _reply(writer, reply)
        if isinstance(reply, wire.Failed):
            await _linger(reader)

    def _checked_uid(self, writer: asyncio.StreamWriter) -> int:
        uid = wire.peer_uid(writer)
        if uid not in self._allowed:
            log.warning("refused a connection", uid=uid)
            raise Forbidden(f"uid {uid} may not use the runner of uid {os.getuid()}")
        return uid

    async def _relay(self, request: wire.Follow, writer: asyncio.StreamWriter) -> None:
        live = partial(_push, writer.transport)
        await _pass_on(self._answers.sessions.follow(request.session_id, request.after, live), writer)


async def _pass_on(chunks: AsyncGenerator[wire.Reply | bytes, None], writer: asyncio.StreamWriter) -> None:
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            writer.write(chunk if isinstance(chunk, bytes) else wire.encode(chunk) + b"\n")
            await writer.drain()


async def _stream(run: Callable[[], Awaitable[None]], reader: asyncio.StreamReader) -> None:
    """Whatever else the client says is ignored; its leaving ends an idle reader's stream at once."""
    await _until_one_ends(run, lambda: _until_eof(reader))


def _push(transport: asyncio.WriteTransport, lines: bytes) -> bool:
    """Write at once, unless the reader is behind: then it is served from the log, as fast as it takes it."""
    if transport.is_closing() or transport.get_write_buffer_size() > PUSH_LIMIT:
        return False
    transport.write(lines)
    return True


async def _request(reader: asyncio.StreamReader) -> wire.Request:
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            line = await reader.readline()
    except ValueError as exc:
        raise Invalid(f"the request line is longer than {wire.LIMIT // 2**20} MiB") from exc
    except TimeoutError as exc:
        raise Invalid(f"no complete request line within {REQUEST_TIMEOUT_S:g} s") from exc
    if not line:
        raise ConnectionResetError
    try:
        request: wire.Request = wire.decode_request(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Invalid(f"the request cannot be read: {exc}") from exc
    return request


async def _reply(writer: asyncio.StreamWriter, reply: wire.Reply) -> None:
    writer.write(wire.encode(reply) + b"\n")
    await writer.drain()


def _in_words(error: OqtoError) -> OqtoError:
    """What a plugin itself said for people, where it did, instead of the fact that it failed."""
    cause = error.__cause__
    return cause if isinstance(error, HookError) and isinstance(cause, OqtoError) else error


async def _linger(reader: asyncio.StreamReader) -> None:
    # Closing with unread input resets the connection, and the peer would lose the reply that says why.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            await _until_eof(reader)


async def _until_eof(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def _until_one_ends(*runs: Callable[[], Awaitable[None]]) -> None:
    tasks = [asyncio.ensure_future(run()) for run in runs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for task, result in zip(tasks, results, strict=True):
        if task in done and isinstance(result, Exception):
            raise result
