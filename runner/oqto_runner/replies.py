"""The answers that people's commands wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from oqto_platform.errors import OqtoError
from oqto_runner.harness import Answer


class Replies:
    """Open commands by token. Each gets one answer; what comes for a forgotten one is dropped."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._token = 0

    def expect(self) -> tuple[int, asyncio.Future[Any]]:
        self._token += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[self._token] = answer
        return self._token, answer

    def forget(self, token: int) -> None:
        self._waiting.pop(token, None)

    def give(self, answers: Iterable[Answer], error: OqtoError | None) -> None:
        """`error` is what kept all of them from being carried out."""
        for answer in answers:
            waiting = self._waiting.get(answer.token)
            if waiting is None or waiting.done():
                continue
            if problem := error or answer.error:
                waiting.set_exception(problem)
            else:
                waiting.set_result(answer.data)

    def fail_all(self, error: OqtoError) -> None:
        """Nobody will answer any more."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)
