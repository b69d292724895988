"""
One living agent: carries out the steps of its conversation, one at a time and in order.

Everything that happens to a session (a line of the agent, a command of a person, time passing, the end)
goes through one task, so a log never sees two steps at once and a command never overtakes its own effects.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from oqto_platform import clock
from oqto_platform.canon import (
    Abort,
    AgentError,
    AgentIdle,
    Command,
    Event,
    MessageEnd,
    SessionClosed,
    SessionCreated,
    TitleChanged,
)
from oqto_platform.errors import AgentFailed, Conflict, DiskFull, OqtoError
from oqto_platform.types import Outcome, Session, StopReason
from oqto_platform.wire import AgentState
from oqto_runner.activity import Activity
from oqto_runner.eventlog import EventLog
from oqto_runner.harness import Conversation, Step
from oqto_runner.process import Process, describe_exit
from oqto_runner.witness import Witness

TICK_S = 0.25
ABORT_GRACE_S = 0.5
READY_TIMEOUT_S = 30.0
_TURN_S = 0.005
_PAUSE_LINES = 512
_RESUME_LINES = 64
_ABORT_TOKEN = -1

log = structlog.get_logger("oqto.sessions")


ENDINGS: dict[StopReason, str] = {
    "asked": "it was stopped on request",
    "idle": "it was stopped because nothing happened for a while",
    "exited": "it ended by itself",
    "failed": "it could not go on",
    "deleted": "the session was deleted",
    "shutdown": "the server was stopped",
    "interrupted": "the runner was restarted",
}


class Agent:
    """The running agent of `session`. `created` is logged when it answers for the first time."""

    def __init__(
        self,
        session: Session,
        conversation: Conversation,
        events: EventLog,
        created: SessionCreated,
        witness: Witness,
    ) -> None:
        self.session = session
        self.created = created
        self.title = session.title
        self.outcome: Outcome | None = None
        self.process: Process
        self._conversation = conversation
        self._log = events
        self._witness = witness
        self._activity = Activity()
        self._ready = asyncio.Event()
        self._idle = asyncio.Event()
        self._wake = asyncio.Event()
        self._lines: deque[bytes] = deque()
        self._commands: deque[tuple[int, Command]] = deque()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._token = 0
        self._is_tick_due = False
        self._is_running = False
        self._is_paused = False
        self._is_muted = False
        self._reason: StopReason | None = None
        self._detail = ""
        self._too_long = 0
        self._begin = events.last
        self._pump: asyncio.Task[None]

    @property
    def state(self) -> AgentState:
        if self.outcome is not None:
            return "dead"
        if self._reason is not None:
            return "stopping"
        if not self._ready.is_set():
            return "starting"
        return "working" if self._conversation.is_working else "idle"

    @property
    def idle_s(self) -> float:
        return self._activity.idle_s(is_working=self._conversation.is_working)

    def take_lines(self, lines: list[bytes]) -> None:
        """Lines of the agent's stdout; it is made to wait while too many are unread."""
        self._lines.extend(lines)
        if self._is_running and len(self._lines) > _PAUSE_LINES and not self._is_paused:
            self._is_paused = True
            self.process.pause(is_paused=True)
        self._wake.set()

    def take_too_long(self) -> None:
        """The agent wrote a line longer than any message may be."""
        self._too_long += 1
        self._wake.set()

    def tell(self, event: Event) -> bool:
        """An event that is not the agent's own; `False` when the log takes none any more."""
        self._wake.set()
        return self._witness.take(event)

    def run(self, process: Process) -> None:
        """Begin the conversation with the process that was just started."""
        self.process = process
        self._is_running = True
        self._pump = asyncio.create_task(self._converse())

    async def finished(self) -> None:
        """Return when the process is gone and `session.closed` is on disk."""
        await asyncio.shield(self._pump)

    async def ready(self) -> None:
        """Return when the agent has answered. Raises `AgentFailed` with what it said last."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await _first(self._ready.wait(), asyncio.shield(self._pump))
        except TimeoutError:
            await self.stop("failed", f"it did not answer within {READY_TIMEOUT_S:g} s")
        if not self._ready.is_set():
            outcome = self.outcome or Outcome(reason="failed")
            said = f": {outcome.stderr_tail[-2000:]}" if outcome.stderr_tail else ""
            raise AgentFailed(f"the agent {self.session.harness} did not start: {outcome.detail}{said}")

    async def command(self, command: Command, timeout_s: float) -> Any:
        """Hand `command` to the agent and return the data of its one answer."""
        if self.state in ("dead", "stopping"):
            raise Conflict("the agent of this session does not run any more; resume the session first")
        self._activity.note_command(command)
        token, answer = self._expect()
        # An abort overtakes what waits; everything else keeps its order.
        if isinstance(command, Abort):
            self._commands.appendleft((token, command))
        else:
            self._commands.append((token, command))
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as exc:
            name = type(command).__struct_config__.tag
            raise AgentFailed(f"the agent did not answer {name} within {timeout_s:g} s") from exc
        finally:
            self._waiting.pop(token, None)

    def _expect(self) -> tuple[int, asyncio.Future[Any]]:
        self._token += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[self._token] = answer
        return self._token, answer

    async def stop(self, reason: StopReason, detail: str = "") -> None:
        """End the turn, then the process and all it started; returns when `session.closed` is logged."""
        if self._reason is None and self.outcome is None:
            self._reason, self._detail = reason, detail
            await self._abort_turn()
            await self.process.end()
        await self.finished()

    async def _abort_turn(self) -> None:
        if not self._conversation.is_working:
            return
        self._idle.clear()
        self._commands.appendleft((_ABORT_TOKEN, Abort()))
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ABORT_GRACE_S):
                await _first(self._idle.wait(), self.process.exited.wait())

    async def _converse(self) -> None:
        ticker = asyncio.get_running_loop().create_task(self._tick())
        try:
            await self._carry_out(self._asked(lambda now: self._conversation.open(now)))
            await self._until_exit()
        except Exception as exc:  # a disk may fail in any way; the agent must not outlive its log
            log.exception("session failed", session=self.session.id)
            self._fail(f"the runner could not go on with it: {exc}")
        finally:
            ticker.cancel()
            await self.process.finish()
        with contextlib.suppress(OSError):
            await self._work_off()
        await self._finish()

    def _fail(self, detail: str) -> None:
        if self._reason is None:
            self._reason, self._detail = "failed", detail

    async def _until_exit(self) -> None:
        exited = asyncio.ensure_future(self.process.exited.wait())
        exited.add_done_callback(lambda _: self._wake.set())
        try:
            while not exited.done():
                await self._wake.wait()
                self._wake.clear()
                await self._work_off()
        finally:
            exited.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._is_tick_due = True
            self._wake.set()

    async def _work_off(self) -> None:
        """Everything that waits, leaving the loop to others every few milliseconds."""
        begun = clock.monotonic()
        while (step := self._next_step()) is not None:
            await self._carry_out(step)
            if clock.monotonic() - begun > _TURN_S:
                await asyncio.sleep(0)
                begun = clock.monotonic()

    def _next_step(self) -> Step | None:
        if self._commands:
            token, command = self._commands.popleft()
            return self._commanded(token, command)
        if self._witness.told and self._ready.is_set():
            return Step(events=(self._witness.told.popleft(),))
        if self._too_long:
            self._too_long -= 1
            return Step(events=(AgentError(error="the agent wrote a line over 64 MiB; it was dropped"),))
        if self._is_tick_due:
            self._is_tick_due = False
            return self._asked(lambda now: self._conversation.tick(now))
        if self._lines:
            line = self._lines.popleft()
            self._let_go_on()
            return self._asked(lambda now: self._conversation.receive(line, now))
        return None

    def _let_go_on(self) -> None:
        if self._is_paused and len(self._lines) < _RESUME_LINES:
            self._is_paused = False
            self.process.pause(is_paused=False)

    def _asked(self, ask: Callable[[float], Step]) -> Step:
        try:
            return ask(clock.monotonic())
        except Exception as exc:  # a harness may come from anybody; its fault is told and the session lives
            log.exception("harness failed", session=self.session.id, harness=self.session.harness)
            return Step(events=(AgentError(error=f"the harness {self.session.harness} failed: {exc}"),))

    def _commanded(self, token: int, command: Command) -> Step:
        return self._asked(lambda now: self._conversation.command(token, command, now))

    async def _carry_out(self, step: Step) -> None:
        events = self._with_created(step.events)
        try:
            self._append(events)
        except DiskFull as exc:
            await self._survive_full_disk(step, exc)
            self._give(step, exc)
            return
        if any(isinstance(e, MessageEnd) and e.message.role == "user" for e in events):
            await self._log.synced()
        self._give(step, self._written(step.lines))
        if not self._conversation.is_working:
            self._idle.set()

    def _with_created(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        if self._ready.is_set() or not self._conversation.is_ready:
            return events
        self._ready.set()
        return (self.created, *events)

    def _append(self, events: tuple[Event, ...]) -> None:
        if self._is_muted:
            # The turn that met the full disk was ended in the log already; what is left of it says nothing.
            self._is_muted = self._conversation.is_working
            return
        if events:
            self._log.append(*events)
        self._witness.see(events)
        for event in events:
            self._activity.note_event(event)
            if isinstance(event, TitleChanged):
                self.title = event.title

    def _written(self, lines: tuple[bytes, ...]) -> OqtoError | None:
        if not lines:
            return None
        try:
            self.process.write(lines)
        except AgentFailed as exc:
            return exc
        return None

    def _give(self, step: Step, error: OqtoError | None) -> None:
        for answer in step.answers:
            waiting = self._waiting.get(answer.token)
            if waiting is None or waiting.done():
                continue
            if problem := error or answer.error:
                waiting.set_exception(problem)
            else:
                waiting.set_result(answer.data)

    async def _survive_full_disk(self, step: Step, exc: DiskFull) -> None:
        log.error("disk full", session=self.session.id, reason=exc.detail)
        if step.lines:
            # The harness believes that the agent has these lines, so the two cannot go on together.
            self._log.reserve.release()
            self._fail(exc.detail)
            await self.process.end()
            return
        abort = self._commanded(_ABORT_TOKEN, Abort())
        self._written(abort.lines)
        self._log.reserve.release()
        with contextlib.suppress(DiskFull):
            self._log.append(AgentError(error=exc.detail, code="disk-full"), AgentIdle(stop_reason="error"))
        self._is_muted = self._conversation.is_working

    async def _finish(self) -> None:
        """The process is gone: end what is open, say so last."""
        outcome = self.outcome = self._judged()
        self._is_muted = False
        closing = self._asked(lambda now: self._conversation.close(now, outcome.detail))
        with contextlib.suppress(DiskFull):
            self._append(closing.events)
        self._give(closing, None)
        await self._take_last_words(outcome)
        if self._log.last > self._begin:
            self._close_log(outcome)
        await self._log.synced()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(AgentFailed(f"the agent ended before it answered: {outcome.detail}"))

    async def _take_last_words(self, outcome: Outcome) -> None:
        if self._ready.is_set():
            await self._witness.close(outcome)
            with contextlib.suppress(DiskFull):
                self._append(tuple(self._witness.told))

    def _close_log(self, outcome: Outcome) -> None:
        closed = SessionClosed(
            reason=outcome.reason,
            detail=outcome.detail,
            exit_code=outcome.exit_code,
            stderr_tail=outcome.stderr_tail,
        )
        self._log.reserve.release()
        try:
            self._log.append(closed)
        except DiskFull as exc:
            log.error("the end of a session could not be logged", session=self.session.id, reason=exc.detail)

    def _judged(self) -> Outcome:
        code = self.process.exit_code
        said = describe_exit(code) if code is not None else "its process could not be ended"
        reason: StopReason = self._reason or ("exited" if code == 0 else "failed")
        return Outcome(
            reason=reason,
            detail=self._detail or (said if self._reason is None else ENDINGS[self._reason]),
            exit_code=code,
            stderr_tail=self.process.stderr_tail,
        )


async def _first(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
