"""Keep the runner small: there is one per Linux user, so every megabyte counts as often as there are people."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*optional: str) -> Iterator[None]:
    """
    Import libraries as if their `optional` companions were not installed.

    msgspec takes typing_extensions (6 MB) although Python 3.11 has what it wants; structlog takes rich
    (5 MB) and greenlet (1 MB) for features that a daemon does not use.
    """
    absent = [name for name in optional if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is how the import system says "no"
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def give_back_memory() -> None:
    """Return to the system what only the start needed (glibc keeps it otherwise)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
