"""The signals that `oqto-sandbox run` gets are for the command inside."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from oqto_platform import clock

PASSED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
STEP_S = 0.01


class Signals:
    """Keeps what comes from now on; none of it ends this process any more. Make it inside a running loop."""

    def __init__(self) -> None:
        self._came: asyncio.Queue[int] = asyncio.Queue()
        for number in PASSED:
            asyncio.get_running_loop().add_signal_handler(number, self._came.put_nowait, number)

    def first(self) -> int:
        """One that has come, 0 for none."""
        return 0 if self._came.empty() else self._came.get_nowait()

    async def pass_on(self, process: int, *, is_launcher: bool) -> None:
        """Hand them to `process`, or to the first process inside when that is only the launcher; until cancelled."""
        while True:
            number = await self._came.get()
            with suppress(OSError):  # it has ended
                os.kill(await _inside(process, number) if is_launcher else process, number)


async def _inside(launcher: int, number: int) -> int:
    """
    The process that takes a signal for the agent, once it does. The launcher itself ignores these signals.

    Linux drops what comes to the first process of a namespace before that has blocked the signal or has a handler.
    """
    while True:
        for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
            if _is_blocked(pid, number):
                return int(pid)
        await clock.sleep(STEP_S)


def _is_blocked(pid: str, number: int) -> bool:
    _, _, rest = Path(f"/proc/{pid}/status").read_text().partition("SigBlk:")
    return bool(int(rest.split()[0], 16) >> (number - 1) & 1)
