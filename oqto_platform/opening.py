"""
The start of a worker that answers already.

What takes long (the libraries of the database, its upgrade, the daemons) goes on behind the open door: the web
UI and `/health/live` are there at once, `/health/ready` says "starting", every other request waits.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress

import structlog

from oqto_platform import slim
from oqto_platform.errors import OqtoError

log = structlog.get_logger("oqto.opening")

Lifespan = Callable[[], AbstractAsyncContextManager[None]]


class Opening:
    """
    A lifespan that is entered in the background, by the one task that also leaves it.

    A lifespan that cannot be entered ends the process with exit code 1, in one sentence where it has one.
    """

    def __init__(self, lifespan: Lifespan) -> None:
        self._done, self._end = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._live(lifespan))

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    async def wait(self) -> None:
        """Until everything is open."""
        await self._done.wait()

    async def end(self) -> None:
        """Close what was opened; an opening that still goes on is given up."""
        self._end.set()
        if not self.is_done:
            self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _live(self, lifespan: Lifespan) -> None:
        context = lifespan()
        try:
            await context.__aenter__()
        except Exception as exc:  # noqa: BLE001 (whatever it is, there is no start)
            # Out of a task, this one goes through the event loop and ends the worker.
            raise SystemExit(_told(exc)) from None
        self._done.set()
        slim.settle()
        resting = asyncio.get_running_loop().call_later(slim.REST_S, slim.rest)
        await self._end.wait()
        resting.cancel()
        await context.__aexit__(None, None, None)


def _told(exc: BaseException) -> int:
    """Say why there is no start; the exit code."""
    if cause := _first_oqto_error(exc):
        sys.stderr.write(f"oqto: {cause.detail}\n")
    else:
        log.error("the start failed", exc_info=exc)
    return 1


def _first_oqto_error(exc: BaseException) -> OqtoError | None:
    """Litestar starts its lifespans in a task group, which wraps what they raise."""
    if isinstance(exc, BaseExceptionGroup):
        return next((found for inner in exc.exceptions if (found := _first_oqto_error(inner))), None)
    return exc if isinstance(exc, OqtoError) else None
