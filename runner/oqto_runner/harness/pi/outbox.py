"""What one step collects, and the book of requests that wait for pi's response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from oqto_platform.canon import Event
from oqto_platform.errors import OqtoError
from oqto_runner.harness import Answer, Step


class Outbox:
    """Events, lines and answers in the order they came up; `take` empties it."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._lines: list[bytes] = []
        self._answers: list[Answer] = []

    def say(self, event: Event) -> None:
        self._events.append(event)

    def write(self, line: dict[str, Any]) -> None:
        self._lines.append(msgspec.json.encode(line))

    def answer(self, token: int, data: Any = None) -> None:
        self._answers.append(Answer(token=token, data=data))

    def refuse(self, token: int, error: OqtoError) -> None:
        self._answers.append(Answer(token=token, error=error))

    def take(self) -> Step:
        step = Step(events=tuple(self._events), lines=tuple(self._lines), answers=tuple(self._answers))
        self._events, self._lines, self._answers = [], [], []
        return step


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Pi's response to a request, or why there is none. `is_lost`: pi never answered."""

    ok: bool
    data: Any = None
    error: str = ""
    is_lost: bool = False


Then = Callable[[Reply], None]


class _Waiting(msgspec.Struct, kw_only=True):
    command: str
    then: Then
    deadline: float
    timeout_s: float


class Requests:
    """Requests to pi under ids of their own; every one ends in exactly one call of its `then`."""

    def __init__(self, out: Outbox, prefix: str) -> None:
        self._out = out
        self._prefix = prefix
        self._count = 0
        self._waiting: dict[str, _Waiting] = {}

    def send(self, command: str, then: Then, *, now: float, timeout_s: float, **fields: Any) -> str:
        """Write the request; `then` gets the reply, at the latest after `timeout_s`."""
        self._count += 1
        request_id = f"{self._prefix}-{self._count}"
        self._waiting[request_id] = _Waiting(
            command=command, then=then, deadline=now + timeout_s, timeout_s=timeout_s
        )
        self._out.write({"id": request_id, "type": command, **fields})
        return request_id

    def settle(self, response: dict[str, Any]) -> bool:
        """Hand a `response` line to who waits for it; `False` when nobody does."""
        waiting = self._claim(response.get("id"), response.get("command"))
        if waiting is None:
            return False
        if response.get("success") is True:
            waiting.then(Reply(ok=True, data=response.get("data")))
        else:
            error = response.get("error")
            waiting.then(Reply(ok=False, error=error if isinstance(error, str) else "pi gave no reason"))
        return True

    def postpone(self, request_id: str, now: float) -> None:
        """Begin the time of a request anew: pi is known to be busy with it."""
        waiting = self._waiting.get(request_id)
        if waiting is not None:
            waiting.deadline = now + waiting.timeout_s

    def expire(self, now: float) -> None:
        """Give up on requests whose time is over."""
        for request_id in [key for key, one in self._waiting.items() if one.deadline <= now]:
            one = self._waiting.pop(request_id, None)
            if one is not None:
                error = f"pi did not answer `{one.command}` within {one.timeout_s:g} s"
                one.then(Reply(ok=False, error=error, is_lost=True))

    def fail_all(self, reason: str) -> None:
        """Nobody will answer any more."""
        while self._waiting:
            _, one = self._waiting.popitem()
            one.then(Reply(ok=False, error=reason, is_lost=True))

    def _claim(self, request_id: Any, command: Any) -> _Waiting | None:
        if isinstance(request_id, str):
            return self._waiting.pop(request_id, None)
        # 0.74 answers a command that it does not know without the id.
        for key, one in self._waiting.items():
            if one.command == command:
                return self._waiting.pop(key)
        return None
