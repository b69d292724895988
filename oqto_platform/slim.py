"""
Keep processes small and quick to start: load libraries without the companions that we do not use.

There is one runner per Linux user, so a megabyte there counts as often as there are people.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn


@contextmanager
def without(*optional: str) -> Iterator[None]:
    """
    Import libraries as if their `optional` companions were not installed.

    msgspec takes typing_extensions (6 MB) although Python 3.11 has what it wants; structlog takes rich
    (5 MB, 100 ms) and greenlet (1 MB) for features that a daemon does not use.
    """
    absent = [name for name in optional if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is how the import system says "no"
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


@contextmanager
def without_tls() -> Iterator[None]:
    """
    Import event loops as if this Python had no TLS: OpenSSL weighs 5 MB, and who listens on Unix sockets needs none.

    asyncio takes that for an answer. uvloop asks for names of `ssl` while it is imported, and gets hollow ones; its
    loop refuses TLS afterwards. Whoever imports `ssl` later gets the real one, and clients that bring TLS along work
    (httpx does, on any loop).
    """
    with without("ssl", "_hashlib"):
        import asyncio  # noqa: F401
        import hashlib  # noqa: F401 (it has algorithms of its own)
        import hmac  # noqa: F401
    with hollow("ssl"):
        yield


@contextmanager
def hollow(*names: str, **values: Any) -> Iterator[None]:
    """
    Import libraries while the modules `names` have every name that is asked for, and nothing behind it.

    For those that import them without asking whether they are there, for a feature that we never use: `without` would
    break them. `values` are names that must have something behind them. Whoever imports `names` later gets the real ones.
    """
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update({name: _Hollow(name, values) for name in absent})
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


REPAIRS = {"ssl": " for its event loop; use httpx, which brings its own TLS, or a thread"}


class _Hollow(ModuleType):
    """Any name: an integer, an error that nobody raises, or a class that is of no use."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        super().__init__(name)
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name.isupper():
            return 0
        return type(name, (OSError,), {"__init__": self._refuse})

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise RuntimeError(
            f"this process was started without {self.__name__}{REPAIRS.get(self.__name__, '')}"
        )


@contextmanager
def own_copy(name: str) -> Iterator[None]:
    """Import the library `name` for the caller alone: whoever imports it later gets one of their own, whole."""
    shared = _taken(name)
    try:
        yield
    finally:
        _taken(name)
        sys.modules.update(shared)


def _taken(name: str) -> dict[str, ModuleType]:
    found = [loaded for loaded in sys.modules if loaded == name or loaded.startswith(f"{name}.")]
    return {loaded: sys.modules.pop(loaded) for loaded in found}


OPENAPI = (
    "litestar._openapi.plugin",
    "litestar._openapi.schema_generation",
    "litestar.openapi",
    "litestar.openapi.config",
    "litestar.openapi.spec",
)


def litestar_without_openapi() -> AbstractContextManager[None]:
    """Import Litestar without what describes an API (1 MB): for applications with `openapi_config=None`."""
    return hollow(*OPENAPI, OpenAPIConfig=dict, OpenAPIPlugin=_NoPlugin, openapi_schema_plugins=())


class _NoPlugin:
    """Litestar makes a plugin for its description in any case; this one takes part in nothing."""

    def __init__(self, _app: object) -> None: ...


def hurry() -> None:
    """
    Collect no garbage until `settle`.

    Hundreds of modules are made and none is thrown away; looking through them again and again takes a sixth of a start.
    """
    gc.disable()


def settle() -> None:
    """
    The start is over: from now on garbage is collected, among what comes later.

    What the start left is not looked through: that takes a tenth of a second in which nobody is served, and of
    160,000 objects 2,400 are garbage, which free no page. Memory that only the start needed goes back to the system
    (glibc keeps it otherwise).
    """
    gc.freeze()
    gc.enable()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


REST_S = 5.0
"""After a start. Who waited for it goes first: a page and a sign-in use what the start has not used."""

LIBRARY = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r-[-x]p \S+ \S+ \d+ +/.*((?:\n[A-Z].*)+\n)", re.MULTILINE)


def rest() -> None:
    """
    Return to the system code and constants of libraries that only the start needed.

    What is used again is mapped again from the kernel's cache, in microseconds.
    """
    mappings = Path("/proc/self/smaps")
    if not mappings.exists():
        return
    advise = ctypes.CDLL(None).madvise
    for start, end in as_their_files(mappings.read_text()):
        advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def as_their_files(smaps: str) -> Iterator[tuple[int, int]]:
    """Addresses of what cannot be written to and never was: what a linker or debugger changed would be lost."""
    for start, end, facts in LIBRARY.findall(smaps):
        if re.search(r"^Anonymous: +0 kB$", facts, re.MULTILINE):
            yield int(start, 16), int(end, 16)
