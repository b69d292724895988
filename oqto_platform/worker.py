"""What a worker process does before anything else."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal

from oqto_platform import slim, terse

PR_SET_PDEATHSIG = 1
FAREWELL = signal.SIGUSR1
"""Sent to the workers by `oqto serve` before it ends them: Granian closes WebSockets without a word."""

LIBRARIES = ("anyio", "litestar", "pydantic", "pydantic_core", "sqlalchemy", "sqlmodel", "structlog")
"""The long-winded ones."""


def prepare() -> None:
    """
    Make a forked worker start quickly and small, and end when it should: told to during its start, or left by its parent.

    Granian forks its workers, which therefore keep the parent's signal handlers until their own are set,
    after the application was imported: a SIGTERM in between would be swallowed, and the server would wait
    for ever. And a worker whose Granian was killed must free the port.
    """
    if multiprocessing.parent_process() is None:
        return
    slim.hurry()
    terse.load(*LIBRARIES)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(FAREWELL, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
