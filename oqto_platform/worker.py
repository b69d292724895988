"""What a worker process does before anything else, and how it is told to end."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from granian import _signals

from oqto_platform import slim, terse

PR_SET_PDEATHSIG = 1
LAST_WORDS_S = 0.15
"""How long a worker gets to tell its browsers: Granian closes WebSockets without a word."""
PARENT_S = 1.0
"""How long a worker that missed its end waits to be ended after all."""

LIBRARIES = ("anyio", "litestar", "pydantic", "pydantic_core", "sqlalchemy", "sqlmodel", "structlog")
"""The long-winded ones."""

on_end: list[Callable[[], None]] = []
"""Called when this worker is told to end, `LAST_WORDS_S` before its connections are closed."""


def prepare() -> None:
    """
    Make a forked worker start quickly and small, and end when it should: told to during its start, or left by its parent.

    A worker whose Granian was killed must free the port.
    """
    if multiprocessing.parent_process() is None:
        return
    slim.hurry()
    _heed_signals()
    terse.load(*LIBRARIES)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def hold_signals() -> None:
    """Have a SIGTERM wait until a worker heeds it (`prepare`): one that comes in the middle of a fork is lost."""
    held = {signal.SIGTERM}
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, held),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, held),
    )


def _heed_signals() -> None:
    """
    Let SIGTERM end this worker from now on, and nothing else.

    Granian forks its workers, which therefore keep the parent's signal handlers until their own are set,
    after the application was imported: a SIGTERM in between would be swallowed, and the server would wait
    for ever. A SIGINT is for the parent, although a terminal sends it to all: a worker that ends before it
    was told to is one that broke.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inherited = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _signals.set_loop_signals = _politely(_signals.set_loop_signals)
    if _was_told_to_end(getattr(inherited, "__self__", None)):
        time.sleep(PARENT_S)
        os._exit(0)


def _was_told_to_end(server: Any) -> bool:
    """
    Whether a signal came between the fork and now: the parent's handler noted it in our copy of the parent.

    While workers are replaced it is the parent's own, from before the fork; it ends us when it comes to that.
    """
    return getattr(server, "interrupt_signal", False) and not getattr(server, "respawned_wrks", None)


def _politely(set_loop_signals: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Granian's handlers, with a pause for last words before they do their work."""

    @wraps(set_loop_signals)
    def polite(loop: asyncio.AbstractEventLoop) -> Any:
        stop = set_loop_signals(loop)
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.add_signal_handler(signal.SIGTERM, _end, loop, stop)
        return stop

    return polite


def _end(loop: asyncio.AbstractEventLoop, stop: Any) -> None:
    for tell in on_end:
        tell()
    loop.call_later(LAST_WORDS_S if on_end else 0, stop.set)
