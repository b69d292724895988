"""What the main process of a server waits on."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress


class Interrupt:
    """
    In the place of the `threading.Event` of Granian's main loop: no signal is missed, and a handler may set it.

    Python runs handlers in the main thread alone, and a lock that this one waits for stays closed when the kernel
    gave the signal to another thread, as it does with the second of two that come at once. The C part of Python
    writes to a pipe in whichever thread it is. Setting an event inside of its own `set` would be a deadlock, too.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def set(self) -> None:
        self._is_set = True
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._writer, b"\0")

    def clear(self) -> None:
        self._is_set = False

    def wait(self) -> None:
        while not self._is_set:
            select.select([self._reader], [], [])
            with suppress(BlockingIOError):
                os.read(self._reader, select.PIPE_BUF)
