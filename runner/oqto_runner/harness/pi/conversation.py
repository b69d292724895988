"""The talk with one `pi --mode rpc` process (pi's docs: `rpc.md`, `rpc-commands.md`).

Sans-I/O: lines, commands and the time go in, a `Step` comes out. The order of a step keeps the promise
that a person's message is logged before pi has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from oqto_platform.canon import (
    Abort,
    AgentError,
    AgentIdle,
    Command,
    Compact,
    FollowUp,
    Fork,
    GetConversations,
    InputResponse,
    NewSession,
    Notify,
    Prompt,
    Steer,
    SwitchSession,
)
from oqto_platform.errors import AgentFailed, Conflict, OqtoError
from oqto_runner.harness import Step
from oqto_runner.harness.pi.events import Translator
from oqto_runner.harness.pi.outbox import Reply
from oqto_runner.harness.pi.prompting import Prompting, aborted
from oqto_runner.harness.pi.queries import TIMEOUT_S, Query, query_for, refusal
from oqto_runner.harness.pi.sessions import Lock, Shelf
from oqto_runner.harness.pi.switching import Switching
from oqto_runner.harness.pi.talk import Talk
from oqto_runner.harness.pi.values import decode, record, records, text

ABORT_TIMEOUT_S = 5.0
MAX_QUOTE = 200


class PiConversation:
    """One running pi. Nothing here raises for what pi writes."""

    def __init__(self, shelf: Shelf, lock: Lock | None = None, *, prefix: str = "") -> None:
        self._shelf = shelf
        self._lock = lock
        self._talk = Talk(prefix)
        self._prompting = Prompting(self._talk, self._may_send, self._end_run)
        self._switching = Switching(self._talk, shelf, self._remember)
        self._translator = Translator(self._talk, self._prompting.acknowledge)
        self._is_ready = False
        self._is_closed = False
        self._has_warned = False
        self._aborts = 0
        self._compactions = 0

    @property
    def is_ready(self) -> bool:
        """Pi has answered its first `get_state`."""
        return self._is_ready

    @property
    def is_working(self) -> bool:
        """A turn runs, a message is on its way, or a question to the person is open."""
        return not self._is_closed and (
            self._talk.turn.is_open or self._prompting.is_busy or self._talk.questions.are_open
        )

    def open(self, now: float) -> Step:
        """Pi says nothing by itself: it is ready when it answers."""
        self._talk.now = now
        if self._lock is not None:
            self._lock.is_live = True
        self._ask("get_commands", self._commands_known)
        self._ask("get_state", self._ready)
        return self._talk.out.take()

    def command(self, token: int, command: Command, now: float) -> Step:
        """Carry out `command`; its one answer comes in this step or a later one."""
        self._talk.now = now
        try:
            self._carry_out(token, command)
        except OqtoError as error:
            self._talk.out.refuse(token, error)
        return self._done()

    def receive(self, line: bytes, now: float) -> Step:
        """One line of stdout; responses go to who asked, the rest is translated."""
        self._talk.now = now
        if not self._is_closed and line.strip():
            self._talk.turn.noticed(now)
            self._read(line)
        return self._done()

    def tick(self, now: float) -> Step:
        """Deadlines: unanswered requests and questions, and turns whose end pi did not tell."""
        self._talk.now = now
        if not self._is_closed:
            self._talk.questions.expire(now)
            self._prompting.tick()
            self._talk.requests.expire(now)
            self._probe()
        return self._done()

    def close(self, now: float, cause: str) -> Step:
        """Pi is gone: end what is open, answer what waits, give the lock back."""
        self._talk.now = now
        if self._is_closed:
            return self._talk.out.take()
        was_open = self._talk.turn.is_open
        self._is_closed = True
        self._talk.stream.break_off()
        self._talk.tools.end_all(cause, now)
        self._talk.questions.drop_all()
        # The error below says it once for the whole turn.
        self._talk.turn.is_open = False
        self._prompting.drop_held(AgentFailed(cause))
        self._talk.requests.fail_all(cause)
        if was_open:
            self._talk.out.say(AgentError(error=cause, recoverable=False))
            self._talk.out.say(AgentIdle(stop_reason="error"))
        if self._lock is not None:
            self._lock.release()
        return self._last_step()

    def _last_step(self) -> Step:
        """Nobody reads lines any more."""
        return msgspec.structs.replace(self._talk.out.take(), lines=())

    def _done(self) -> Step:
        if self._is_closed:
            return self._last_step()
        self._prompting.release()
        return self._talk.out.take()

    def _carry_out(self, token: int, command: Command) -> None:
        if self._is_closed:
            raise AgentFailed("pi has ended; resume the session to start it again")
        match command:
            case Prompt() | Steer() | FollowUp():
                self._prompting.say(token, command)
            case Abort():
                self._abort(token)
            case InputResponse():
                self._talk.questions.respond(command)
                self._talk.out.answer(token)
            case NewSession() | SwitchSession() | Fork():
                self._must_be_idle()
                self._switching.change(token, command)
            case GetConversations():
                known = self._shelf.conversations(self._talk.facts.session_file)
                self._talk.out.answer(token, {"conversations": known})
            case _:
                self._query(token, command)

    def _query(self, token: int, command: Command) -> None:
        if isinstance(command, Compact):
            self._must_be_idle()
            self._compactions += 1
        query = query_for(command)
        if query is None:
            raise AgentFailed(f"pi does not know the command {type(command).__struct_config__.tag}")
        self._talk.requests.send(
            query.request,
            lambda reply: self._answered(token, query, reply),
            now=self._talk.now,
            timeout_s=query.timeout_s,
            **query.fields,
        )

    def _answered(self, token: int, query: Query, reply: Reply) -> None:
        if query.request == "compact":
            self._compactions -= 1
        if query.request == "get_commands" and reply.ok:
            self._commands_known(reply)
        if reply.ok:
            self._talk.out.answer(token, query.shape(self._talk, record({"data": reply.data}, "data")))
        else:
            self._talk.out.refuse(token, refusal(query.request, reply.error))

    def _must_be_idle(self) -> None:
        if self.is_working or self._switching.is_on or self._compactions:
            raise Conflict("pi is working; wait until it is idle or abort first")

    def _may_send(self) -> bool:
        return self._is_ready and not (self._aborts or self._compactions or self._switching.is_on)

    def _abort(self, token: int) -> None:
        self._talk.turn.abort()
        self._prompting.drop_held(aborted())
        if not self.is_working:
            self._talk.out.answer(token, {"is_confirmed": True})
            return
        self._prompting.doom()
        self._aborts += 1
        self._end_run(lambda reply: self._aborted(token, reply))
        # A dialog may be what holds the run.
        self._talk.questions.cancel_all()

    def _aborted(self, token: int, reply: Reply) -> None:
        self._aborts -= 1
        self._talk.out.answer(token, {"is_confirmed": reply.ok})

    def _end_run(self, then: Callable[[Reply], None] | None = None) -> None:
        """`clear_queue` first, or pi would go on with it in the next turn; 0.74 does not know it."""
        self._ask("clear_queue", _ignore, ABORT_TIMEOUT_S)
        self._ask("abort", then or _ignore, ABORT_TIMEOUT_S)

    def _ready(self, reply: Reply) -> None:
        if reply.is_lost:
            self._prompting.drop_held(AgentFailed(reply.error))
            return
        self._is_ready = True
        self._talk.facts.state(record({"data": reply.data}, "data"))
        self._remember()

    def _remember(self) -> None:
        if self._talk.facts.session_file:
            self._shelf.remember(self._talk.facts.session_file)

    def _commands_known(self, reply: Reply) -> None:
        commands = records(record({"data": reply.data}, "data"), "commands")
        names = {text(one, "name") for one in commands if one.get("source") == "extension"}
        self._prompting.extension_commands = frozenset(names)

    def _probe(self) -> None:
        turn = self._talk.turn
        if turn.take_probe(self._talk.now):
            epoch = turn.epoch
            self._ask("get_state", lambda reply: self._probed(epoch, reply))

    def _probed(self, epoch: int, reply: Reply) -> None:
        state = record({"data": reply.data}, "data")
        is_busy = not reply.ok or state.get("isStreaming") is True or state.get("isCompacting") is True
        if self._talk.turn.probed(is_busy=is_busy, epoch=epoch, now=self._talk.now):
            self._talk.settle()

    def _ask(self, command: str, then: Callable[[Reply], None], timeout_s: float = TIMEOUT_S) -> None:
        self._talk.requests.send(command, then, now=self._talk.now, timeout_s=timeout_s)

    def _read(self, line: bytes) -> None:
        event = decode(line)
        if event is None:
            self._warn(line)
        elif event.get("type") == "response":
            self._talk.requests.settle(event)
        else:
            self._translator.translate(event)

    def _warn(self, line: bytes) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        quote = line[:MAX_QUOTE].decode(errors="replace")
        message = f"pi wrote something that is not its protocol, and perhaps more of it: {quote}"
        self._talk.out.say(Notify(level="warning", message=message))


def _ignore(reply: Reply) -> Any:
    return None
