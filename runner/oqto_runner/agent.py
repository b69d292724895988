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
    PASSING_KINDS,
    Abort,
    AgentError,
    AgentIdle,
    Command,
    Event,
    MessageEnd,
    SessionCreated,
    TitleChanged,
)
from oqto_platform.errors import AgentFailed, Conflict, DiskFull, OqtoError
from oqto_platform.types import Outcome, Session, StopReason
from oqto_platform.wire import AgentState
from oqto_runner.activity import Activity
from oqto_runner.endings import closing_event, judged
from oqto_runner.eventlog import EventLog
from oqto_runner.harness import Conversation, Step
from oqto_runner.process import Process
from oqto_runner.racing import first
from oqto_runner.replies import Replies
from oqto_runner.witness import Witness

TICK_S = 0.25
ABORT_GRACE_S = 0.5
READY_TIMEOUT_S = 30.0
_TURN_S = 0.005
_PAUSE_LINES = 512
_RESUME_LINES = 64
_ABORT_TOKEN = -1

log = structlog.get_logger("oqto.sessions")


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
        self._replies = Replies()
        self._is_tick_due = False
        self._is_resting = False
        self._unsettled: tuple[Step, DiskFull | None] | None = None
        self._fault: Exception | None = None
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
        if not self._conversation.is_working:
            return "idle"
        return "waiting" if self._activity.has_question else "working"

    @property
    def idle_s(self) -> float:
        return self._activity.idle_s(is_working=self._conversation.is_working)

    def take_lines(self, lines: list[bytes]) -> None:
        """Lines of the agent's stdout; it is made to wait while too many are unread."""
        self._lines.extend(lines)
        self._go_on()
        if self._is_running and len(self._lines) > _PAUSE_LINES and not self._is_paused:
            self._is_paused = True
            self.process.pause(is_paused=True)

    def take_too_long(self) -> None:
        """The agent wrote a line longer than any message may be."""
        self._too_long += 1
        self._go_on()

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
                await first(self._ready.wait(), asyncio.shield(self._pump))
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
        token, answer = self._replies.expect()
        # An abort overtakes what waits; everything else keeps its order.
        if isinstance(command, Abort):
            self._commands.appendleft((token, command))
        else:
            self._commands.append((token, command))
        self._go_on()
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as exc:
            name = type(command).__struct_config__.tag
            raise AgentFailed(f"the agent did not answer {name} within {timeout_s:g} s") from exc
        finally:
            self._replies.forget(token)

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
                await first(self._idle.wait(), self.process.exited.wait())

    async def _converse(self) -> None:
        ticker = asyncio.get_running_loop().create_task(self._tick())
        try:
            self._carry_out(self._asked(self._conversation.open, clock.monotonic()))
            await self._work_off()
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
                await self._rest()
                await self._work_off()
        finally:
            exited.cancel()

    async def _rest(self) -> None:
        """Until there is work that `_go_on` could not do, or a fault of what it did."""
        self._is_resting = True
        try:
            await self._wake.wait()
        finally:
            self._is_resting = False
        self._wake.clear()
        if self._fault is not None:
            raise self._fault

    def _go_on(self) -> None:
        """Something waits. It is done in the caller's turn where it can be: a task's turn costs more."""
        if self._is_resting and self._fault is None:
            try:
                if self._work():
                    return
            except Exception as exc:  # noqa: BLE001 - the pump ends the session for it
                self._fault = exc
        self._wake.set()

    async def _tick(self) -> None:
        while True:
            # At the same moments for all agents: else the processor wakes up for each of them.
            await asyncio.sleep(TICK_S * 1.5 - (clock.monotonic() + TICK_S / 2) % TICK_S)
            self._is_tick_due = True
            self._go_on()

    async def _work_off(self) -> None:
        """Everything that waits, leaving the loop to others every few milliseconds."""
        while not self._work():
            if self._unsettled is not None:
                await self._settle(*self._unsettled)
            else:
                await asyncio.sleep(0)

    def _work(self) -> bool:
        """What waits, step by step; `False` when a step must be settled first or the turn is over."""
        now = clock.monotonic()
        ends_at = now + _TURN_S
        while self._unsettled is None and (step := self._next_step(now)) is not None:
            self._carry_out(step)
            if (now := clock.monotonic()) > ends_at:
                return False
        return self._unsettled is None

    def _next_step(self, now: float) -> Step | None:
        if self._commands:
            token, command = self._commands.popleft()
            return self._asked(self._conversation.command, token, command, now)
        if self._witness.told and self._ready.is_set():
            return Step(events=(self._witness.told.popleft(),))
        if self._too_long:
            self._too_long -= 1
            return Step(events=(AgentError(error="the agent wrote a line over 64 MiB; it was dropped"),))
        if self._is_tick_due:
            self._is_tick_due = False
            return self._asked(self._conversation.tick, now)
        if self._lines:
            line = self._lines.popleft()
            if self._is_paused and len(self._lines) < _RESUME_LINES:
                self._is_paused = False
                self.process.pause(is_paused=False)
            return self._asked(self._conversation.receive, line, now)
        return None

    def _asked(self, ask: Callable[..., Step], *what: Any) -> Step:
        """What the harness answers."""
        try:
            return ask(*what)
        except Exception as exc:  # a harness may come from anybody; its fault is told and the session lives
            log.exception("harness failed", session=self.session.id, harness=self.session.harness)
            return Step(events=(AgentError(error=f"the harness {self.session.harness} failed: {exc}"),))

    def _carry_out(self, step: Step) -> None:
        """Log, then act; what has to be waited for stays in `_unsettled`, and nothing else is done meanwhile."""
        events = step.events if self._ready.is_set() else self._with_created(step.events)
        try:
            self._append(events)
        except DiskFull as exc:
            self._unsettled = step, exc
            return
        if not step.lines and not step.answers:
            self._note_idle()
        elif any(type(event) is MessageEnd and event.message.role == "user" for event in events):
            self._unsettled = step, None
        else:
            self._act(step)

    async def _settle(self, step: Step, exc: DiskFull | None) -> None:
        if exc is None:
            await self._log.synced()
            self._act(step)
        else:
            await self._survive_full_disk(step, exc)
            self._replies.give(step.answers, exc)
        self._unsettled = None

    def _act(self, step: Step) -> None:
        self._replies.give(step.answers, self._written(step.lines))
        self._note_idle()

    def _note_idle(self) -> None:
        if self._reason is not None and not self._conversation.is_working:
            self._idle.set()

    def _with_created(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        if not self._conversation.is_ready:
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
        for event in events:
            if type(event) not in PASSING_KINDS:
                self._note(event)

    def _note(self, event: Event) -> None:
        self._activity.note_event(event)
        self._witness.see(event)
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

    async def _survive_full_disk(self, step: Step, exc: DiskFull) -> None:
        log.error("disk full", session=self.session.id, reason=exc.detail)
        if step.lines:
            # The harness believes that the agent has these lines, so the two cannot go on together.
            self._log.reserve.release()
            self._fail(exc.detail)
            await self.process.end()
            return
        abort = self._asked(self._conversation.command, _ABORT_TOKEN, Abort(), clock.monotonic())
        self._written(abort.lines)
        self._log.reserve.release()
        with contextlib.suppress(DiskFull):
            self._log.append(AgentError(error=exc.detail, code="disk-full"), AgentIdle(stop_reason="error"))
        self._is_muted = self._conversation.is_working

    async def _finish(self) -> None:
        """The process is gone: end what is open, say so last."""
        outcome = self.outcome = judged(self.process, self._reason, self._detail)
        self._is_muted = False
        closing = self._asked(self._conversation.close, clock.monotonic(), outcome.detail)
        with contextlib.suppress(DiskFull):
            self._append(closing.events)
        self._replies.give(closing.answers, None)
        await self._take_last_words(outcome)
        if self._log.last > self._begin:
            self._close_log(outcome)
        await self._log.synced()
        self._replies.fail_all(AgentFailed(f"the agent ended before it answered: {outcome.detail}"))

    async def _take_last_words(self, outcome: Outcome) -> None:
        if self._ready.is_set():
            await self._witness.close(outcome)
            with contextlib.suppress(DiskFull):
                self._append(tuple(self._witness.told))

    def _close_log(self, outcome: Outcome) -> None:
        self._log.reserve.release()
        try:
            self._log.append(closing_event(outcome))
        except DiskFull as exc:
            log.error("the end of a session could not be logged", session=self.session.id, reason=exc.detail)
