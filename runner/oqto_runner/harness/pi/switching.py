"""Another conversation in the same process: new, switched to, or forked.

Pi answers with little more than "done", so its state and messages are asked for afterwards and told in
one `session.conversation_changed`. Only when idle, and one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from oqto_platform.canon import ConversationChanged, Fork, NewSession, SwitchSession
from oqto_platform.errors import Conflict
from oqto_runner.harness.pi.messages import history
from oqto_runner.harness.pi.outbox import Reply
from oqto_runner.harness.pi.queries import TIMEOUT_S, refusal
from oqto_runner.harness.pi.sessions import Shelf, mend
from oqto_runner.harness.pi.talk import Talk
from oqto_runner.harness.pi.values import record, records, text

Cause = Literal["new", "switch", "fork"]
Change = NewSession | SwitchSession | Fork


class _Step(msgspec.Struct, kw_only=True):
    token: int
    cause: Cause
    request: str
    data: dict[str, Any] = {}


class Switching:
    """At most one change at a time."""

    def __init__(self, talk: Talk, shelf: Shelf, remember: Callable[[], None]) -> None:
        self._talk = talk
        self._shelf = shelf
        self._remember = remember
        self.is_on = False

    def change(self, token: int, command: Change) -> None:
        """Begin the change. Raises `Invalid`, `NotFound`."""
        match command:
            case NewSession():
                self._ask(_Step(token=token, cause="new", request="new_session"))
            case SwitchSession(session_path=path):
                file = self._shelf.check(path)
                mend(file)
                self._ask(_Step(token=token, cause="switch", request="switch_session"), sessionPath=str(file))
            case Fork(entry_id=entry):
                self._ask(_Step(token=token, cause="fork", request="fork"), entryId=entry)

    def _ask(self, step: _Step, **fields: Any) -> None:
        self.is_on = True
        self._request(step.request, lambda reply: self._changed(step, reply), fields)

    def _changed(self, step: _Step, reply: Reply) -> None:
        step.data = reply.data if isinstance(reply.data, dict) else {}
        if not reply.ok:
            self._fail(step, reply)
        elif step.data.get("cancelled") is True:
            self.is_on = False
            self._talk.out.refuse(step.token, Conflict("an extension of pi did not allow it"))
        else:
            self._request("get_state", lambda answer: self._located(step, answer), {})

    def _located(self, step: _Step, reply: Reply) -> None:
        if not reply.ok:
            self._fail(step, reply)
            return
        self._talk.facts.queues_are((), ())
        self._talk.facts.state(reply.data if isinstance(reply.data, dict) else {})
        self._remember()
        self._request("get_messages", lambda answer: self._shown(step, answer), {})

    def _shown(self, step: _Step, reply: Reply) -> None:
        if not reply.ok:
            self._fail(step, reply)
            return
        self.is_on = False
        messages = history(records(record({"data": reply.data}, "data"), "messages"), self._talk.mint)
        self._talk.out.say(ConversationChanged(cause=step.cause, messages=messages))
        answer = {"session_path": self._talk.facts.session_file}
        if step.cause == "fork":
            answer["text"] = text(step.data, "text")
        self._talk.out.answer(step.token, answer)

    def _fail(self, step: _Step, reply: Reply) -> None:
        self.is_on = False
        self._talk.out.refuse(step.token, refusal(step.request, reply.error))

    def _request(self, command: str, then: Callable[[Reply], None], fields: dict[str, Any]) -> None:
        self._talk.requests.send(command, then, now=self._talk.now, timeout_s=TIMEOUT_S, **fields)
