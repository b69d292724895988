"""
One browser's connection: commands in, replies and events out.

The outbox waits for the client, so a slow one holds back its own followers (and through them the runner's
sockets) and nobody else. Commands of one session keep their order; `abort` and answers to questions
overtake. Each command gets exactly one reply.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Protocol

import structlog

from oqto_platform import clock
from oqto_platform.canon import Abort, AbortRetry, Command, FollowUp, InputResponse, Prompt, Steer
from oqto_platform.errors import Internal, LimitReached, NotSignedIn, OqtoError
from oqto_platform.metrics.counts import counts
from oqto_platform.mux import frames
from oqto_platform.mux.follower import Follower
from oqto_platform.mux.outbox import Outbox
from oqto_platform.runners.client import RunnerClient
from oqto_platform.types import Identity, SessionId

log = structlog.get_logger("oqto.mux")

MAX_COMMANDS = 64
"""Commands of one connection that may wait for their reply."""

MAX_FOLLOWED = 64
SEND_TIMEOUT_S = 60.0
BYE_TIMEOUT_S = 5.0
STALL_CHECK_S = 5.0
SIGN_IN_CHECK_S = 1.0
PING_EVERY = 10  # checks
OVERTAKE = (Abort, AbortRetry, InputResponse)
SPEAKING = (Prompt, Steer, FollowUp)

Telling = Callable[[Callable[[str], Awaitable[None]]], Coroutine[Any, Any, None]]
Find = Callable[[Identity, str, str], Awaitable[RunnerClient]]


class Peer(Protocol):
    """The WebSocket, as far as the connection needs it."""

    async def receive(self) -> str | bytes | None:
        """The next frame, or `None` when the client has left. `TooLarge` for one that may not be."""

    def send(self, text: str) -> Awaitable[Any]:
        """Done when the transport took it."""

    def most_bytes(self) -> int:
        """The longest message that it takes now."""


class Leaving(Exception):
    """The server ends."""


class SlowClient(Exception):
    """The client took nothing for `SEND_TIMEOUT_S`."""


class Connection:
    """
    Runs until the client leaves or is told `bye`. `holds` raises `NotSignedIn` once the sign-in ended; `told`
    hears of every command that a session took. `farewell` is set when the server is about to end. `news` tells of
    all sessions for as long as the connection lives.
    """

    def __init__(
        self,
        peer: Peer,
        identity: Identity,
        find: Find,
        holds: Callable[[], Awaitable[object]],
        version: str,
        told: Callable[[str, Command], None],
        farewell: asyncio.Event,
        news: Telling,
    ) -> None:
        self._peer = peer
        self._identity = identity
        self._find = find
        self._holds = holds
        self._version = version
        self._told = told
        self._farewell = farewell
        self._news = news
        self._outbox = Outbox(peer.send)
        self._order: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._following = asyncio.Lock()  # of two subscriptions at once, one would never end
        self._followed: dict[str, asyncio.Task[None]] = {}
        self._commands: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve the connection to its end. Every task it started is over when it returns."""
        counts.add("oqto_mux_connections")
        try:
            await self._serve()
        finally:
            counts.add("oqto_mux_connections", amount=-1)

    async def _serve(self) -> None:
        await self._outbox.send(
            frames.system("connected", version=self._version, max_message_bytes=self._peer.most_bytes())
        )
        jobs = (
            self._read(),
            self._watch(),
            self._notice_stall(),
            self._leave(),
            self._news(self._outbox.send),
        )
        serving = {asyncio.create_task(job) for job in jobs}
        try:
            done, _ = await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end([*serving, *self._commands, *self._followed.values()])
            self._outbox.drop()
        # A client that takes nothing cannot be told, and must not hold up the end of the server.
        with suppress(TimeoutError):
            async with asyncio.timeout(BYE_TIMEOUT_S):
                for task in done:
                    await self._bye(task.exception())

    async def _read(self) -> None:
        while True:
            try:
                if (text := await self._peer.receive()) is None:
                    return
                self._take(text)
            except OqtoError as exc:
                await self._outbox.send(
                    frames.system("error", id=exc.extra.get("id"), error=exc.to_problem())
                )

    def _take(self, text: str | bytes) -> None:
        head = frames.read_head(text)
        if len(self._commands) >= MAX_COMMANDS:
            raise LimitReached(f"{MAX_COMMANDS} commands wait for their reply already; slow down", id=head.id)
        task = asyncio.create_task(self._answer(head, text))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    async def _answer(self, head: frames.Head, text: str | bytes) -> None:
        try:
            await self._carry_out(head, text)
            counts.add("oqto_mux_commands", ("ok",))
        except OqtoError as exc:
            counts.add("oqto_mux_commands", ("failed",))
            await self._outbox.send(frames.failed(head, exc))
        except ConnectionError:
            raise
        except Exception:  # the one reply is owed whatever broke
            log.exception("command failed", cmd=head.cmd)
            await self._outbox.send(
                frames.failed(head, Internal("something broke in the server; the log has the cause"))
            )

    async def _carry_out(self, head: frames.Head, text: str | bytes) -> None:
        match head.cmd:
            case "subscribe":
                async with self._following:
                    await self._subscribe(head)
            case "unsubscribe":
                async with self._following:
                    await self._unfollow(head.session_id)
                await self._outbox.send(frames.done(head))
            case _:
                await self._outbox.send(
                    frames.done(head, await self._command(head, frames.read_command(text, head)))
                )

    async def _command(self, head: frames.Head, command: Command) -> Any:
        if isinstance(command, OVERTAKE):
            return await self._pass_on(head, command)
        # Before anything else is awaited: that is what keeps the order.
        async with self._order[head.session_id]:
            return await self._pass_on(head, command)

    async def _pass_on(self, head: frames.Head, command: Command) -> Any:
        action = (
            "session.prompt"
            if isinstance(command, SPEAKING)
            else f"session.{head.cmd.removeprefix('session.')}"
        )
        runner = await self._find(self._identity, action, head.session_id)
        sent = await runner.send(SessionId(head.session_id), command)
        self._told(head.session_id, command)
        return sent.data

    async def _subscribe(self, head: frames.Head) -> None:
        await self._unfollow(head.session_id)
        if len(self._followed) >= MAX_FOLLOWED:
            raise LimitReached(
                f"one connection follows at most {MAX_FOLLOWED} sessions; unsubscribe from one"
            )
        runner = await self._find(self._identity, "session.read", head.session_id)
        follower = Follower(runner, SessionId(head.session_id), head.after, self._outbox, lines=head.lines)
        following = await follower.open()
        try:
            data = {"mode": following.mode, "last": following.last, "reset": following.reset}
            await self._outbox.send(frames.done(head, data))
        except BaseException:  # whoever gives up, by cancelling too, must not leave the runner a follower
            await follower.close()
            raise
        self._followed[head.session_id] = asyncio.create_task(self._relay(follower))

    async def _relay(self, follower: Follower) -> None:
        try:
            await follower.relay()
        except Exception:  # one broken subscription must not end the connection silently
            log.exception("subscription broke")

    async def _unfollow(self, session_id: str) -> None:
        if task := self._followed.pop(session_id, None):
            await _end([task])

    async def _watch(self) -> None:
        """Ping, and end the connection as soon as the sign-in does not hold any more."""
        checks = 0
        while True:
            await asyncio.sleep(SIGN_IN_CHECK_S)
            await self._holds()
            checks += 1
            if checks % PING_EVERY == 0:
                await self._outbox.send(frames.system("ping"))

    async def _notice_stall(self) -> None:
        """End the connection of a client that takes nothing. A timer for each frame would cost more than it."""
        while True:
            await asyncio.sleep(STALL_CHECK_S)
            since = self._outbox.sending_since
            if since is not None and clock.monotonic() - since > SEND_TIMEOUT_S:
                raise SlowClient(f"nothing was taken for {SEND_TIMEOUT_S:g} s")

    async def _leave(self) -> None:
        await self._farewell.wait()
        raise Leaving

    async def _bye(self, cause: BaseException | None) -> None:
        match cause:
            case NotSignedIn():
                await self._outbox.send(frames.system("bye", code="signed_out", reason=cause.detail))
            case Leaving():
                await self._outbox.send(
                    frames.system("bye", code="restart", reason="the server is being stopped or restarted")
                )
            case SlowClient():
                log.info("client is stuck", reason=str(cause))
            case None | ConnectionError():
                return
            case _:
                log.error("connection broke", exc_info=cause)
                await self._outbox.send(
                    frames.system("bye", code="restart", reason="the server has a fault; connect again")
                )


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
