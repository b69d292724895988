"""Messages of a person on their way to pi.

A message is logged the moment it comes, and held while pi cannot take it: before it is ready, while it
ends a turn, compacts on request or changes the conversation. Every one goes out as `prompt` with a
`streamingBehavior`: it starts a turn when pi is idle and queues otherwise, so no race can lose it
(pi's own `steer` and `follow_up` start nothing while idle).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

import msgspec

from oqto_platform import clock
from oqto_platform.canon import FollowUp, Message, MessageEnd, Prompt, Steer
from oqto_platform.errors import AgentFailed, Conflict, Invalid, OqtoError
from oqto_runner.harness.pi.echoes import Sent
from oqto_runner.harness.pi.messages import prompt_message
from oqto_runner.harness.pi.outbox import Reply
from oqto_runner.harness.pi.talk import Talk

TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 600.0
EARLY_S = 5.0
MAX_CLIENT_IDS = 512

Saying = Prompt | Steer | FollowUp
Behavior = Literal["steer", "followUp"]


class _Outgoing(msgspec.Struct, kw_only=True):
    """One message; `token` is `None` once its command is answered."""

    token: int | None
    saying: Saying
    message: Message
    since: float
    request_id: str = ""
    sent: Sent | None = None
    is_doomed: bool = False


class Prompting:
    """What is held and what pi has not responded to yet."""

    def __init__(self, talk: Talk, may_send: Callable[[], bool], end_again: Callable[[], None]) -> None:
        self._talk = talk
        self._may_send = may_send
        self._end_again = end_again
        self._held: list[_Outgoing] = []
        self._pending: list[_Outgoing] = []
        self._client_ids: OrderedDict[str, str] = OrderedDict()
        self.extension_commands: frozenset[str] = frozenset()

    @property
    def is_busy(self) -> bool:
        return bool(self._held or self._pending)

    def say(self, token: int, saying: Saying) -> None:
        """Log the message and send it as soon as pi can take it. Raises `Invalid`."""
        known = self._client_ids.get(saying.client_id)
        if known is not None:
            self._talk.out.answer(token, {"message_id": known, "is_duplicate": True})
            return
        _check(saying)
        if self._talk.turn.is_over:
            self._talk.settle()
        message = prompt_message(
            self._talk.mint(), saying.message, saying.images, saying.client_id, clock.now_ms()
        )
        self._remember(saying.client_id, message.id)
        self._talk.out.say(MessageEnd(message=message))
        if not self._talk.turn.is_open:
            self._talk.turn.begin("generating" if self._may_send() else "initializing", self._talk.now)
        self._held.append(_Outgoing(token=token, saying=saying, message=message, since=self._talk.now))
        self.release()

    def release(self) -> None:
        """Send what was held, in order, when pi can take it."""
        while self._held and self._may_send():
            self._send(self._held.pop(0))

    def drop_held(self, error: OqtoError) -> None:
        """These never reach pi."""
        held, self._held = self._held, []
        for one in held:
            self._refuse(one, error)

    def doom(self) -> None:
        """An abort may overtake these inside pi: end them again when their run begins."""
        for one in self._pending:
            one.is_doomed = True

    def acknowledge(self) -> None:
        """Pi is at work on them: do not let the person wait for the response."""
        for one in self._pending:
            self._answer(one)

    def tick(self) -> None:
        """Answer commands of extensions that take their time; be patient while pi is known to be busy."""
        is_busy = self._talk.turn.is_compacting or self._talk.questions.are_open
        for one in self._pending:
            if is_busy:
                self._talk.requests.postpone(one.request_id, self._talk.now)
            if _is_command(one.saying) and self._talk.now - one.since >= EARLY_S:
                self._answer(one)

    def _send(self, one: _Outgoing) -> None:
        saying, talk = one.saying, self._talk
        fields: dict[str, object] = {"message": saying.message}
        if saying.images:
            fields["images"] = [
                {"type": "image", "data": image.data, "mimeType": image.media_type} for image in saying.images
            ]
        behavior: Behavior = "followUp" if isinstance(saying, FollowUp) else "steer"
        if not self._is_extension_command(saying):
            one.sent = talk.echoes.expect(one.message, saying.message)
        self._pending.append(one)
        if not (talk.turn.is_running or talk.turn.is_compacting):
            talk.turn.begin("generating", talk.now)
        talk.turn.prompt_sent()
        one.request_id = talk.requests.send(
            "prompt",
            lambda reply: self._responded(one, reply),
            now=talk.now,
            timeout_s=COMMAND_TIMEOUT_S if _is_command(saying) else TIMEOUT_S,
            **fields,
            streamingBehavior=behavior,
        )

    def _responded(self, one: _Outgoing, reply: Reply) -> None:
        self._pending.remove(one)
        self._talk.turn.prompt_answered(self._talk.now)
        if reply.ok:
            self._accepted(one)
            return
        if one.sent is not None:
            self._talk.echoes.forget(one.sent)
        self._refuse(one, AgentFailed(reply.error.partition("\n\n")[0]))

    def _accepted(self, one: _Outgoing) -> None:
        if one.sent is not None:
            one.sent.is_taken = True
        self._answer(one)
        if one.is_doomed:
            self._end_again()

    def _answer(self, one: _Outgoing) -> None:
        if one.token is not None:
            self._talk.out.answer(one.token, {"message_id": one.message.id})
            one.token = None

    def _refuse(self, one: _Outgoing, error: OqtoError) -> None:
        """Pi will not work on it: tell the sender, and everyone who reads the log."""
        self._client_ids.pop(one.saying.client_id, None)
        if one.token is not None:
            self._talk.out.refuse(one.token, error)
            one.token = None
        turn = self._talk.turn
        if turn.is_open and not (turn.is_running or turn.is_compacting or self.is_busy):
            turn.fail(error.detail)
            self._talk.settle()

    def _remember(self, client_id: str, message_id: str) -> None:
        if client_id:
            self._client_ids[client_id] = message_id
            while len(self._client_ids) > MAX_CLIENT_IDS:
                self._client_ids.popitem(last=False)

    def _is_extension_command(self, saying: Saying) -> bool:
        name = saying.message.partition(" ")[0][1:]
        return _is_command(saying) and name in self.extension_commands


def aborted() -> Conflict:
    """Why a held message was dropped."""
    return Conflict("the turn was aborted before the agent had this message")


def _is_command(saying: Saying) -> bool:
    return saying.message.startswith("/")


def _check(saying: Saying) -> None:
    if not saying.message.strip() and not saying.images:
        raise Invalid("message: is empty; write something or add an image")
    for image in saying.images:
        if not image.media_type.startswith("image/"):
            raise Invalid(f"images: media_type is {image.media_type!r}, which is no image")
