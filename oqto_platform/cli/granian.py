"""Granian, with a word to the browsers before it closes their connections."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from granian.server.mp import MPServer

from oqto_platform.worker import FAREWELL

LAST_WORDS_S = 0.15
"""How long workers get to tell their browsers."""


class PoliteServer(MPServer):
    """Granian's supervisor; each worker says `bye` to its connections before it is stopped."""

    def shutdown(self, exit_code: int = 0) -> None:
        """End the server in order."""
        for worker in self.wrks:
            with suppress(ProcessLookupError):
                if worker.inner.pid is not None:
                    os.kill(worker.inner.pid, FAREWELL)
        time.sleep(LAST_WORDS_S)
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]
