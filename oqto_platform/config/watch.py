"""
Notices that a file of the configuration changed, however it was changed.

Watched are folders, not files: editors replace the file, and a watch on the old one would go deaf. Behind
links, the folder of every link on the way is watched too: Kubernetes switches a link two steps away.
Imports watchfiles, so it is imported when the server runs and not before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path

import structlog
from watchfiles import awatch

from oqto_platform.config import files

log = structlog.get_logger("oqto.config")

STEP_MS = 50
"""Quiet time after a change: an editor that writes in pieces is through."""

DEBOUNCE_MS = 200
LOOK_ANYWAY_MS = 2_000
"""Some file systems tell nothing, and a change may fall between two watches."""

RETRY_S = 0.5

SETTLE_S = 0.25
"""Who empties a file and then fills it may be halted in between, and a look may fall there."""


async def changes(
    paths: Callable[[], Iterable[Path]], again: Callable[[], bool]
) -> AsyncGenerator[None, None]:
    """
    Yields once at the start and whenever one of `paths()` may say something else. Never ends.

    While `again()`, it yields every `LOOK_ANYWAY_MS` too: what a refused file refers to may be mended elsewhere.
    """
    seen: object = None
    polls = False
    while True:
        try:
            watched = _folders(paths())
            async with aclosing(_ticks(watched, polls=polls)) as ticks:
                async for _ in ticks:
                    now = await _settled(paths, seen)
                    if now != seen or again():
                        seen = now
                        yield
                    if _folders(paths()) != watched:
                        break
        except FileNotFoundError:  # a folder or link went between looking and watching
            await asyncio.sleep(RETRY_S)
        except OSError as exc:
            if not polls:
                log.warning("the kernel cannot watch files; looking at them instead", reason=str(exc))
            polls = True
            await asyncio.sleep(RETRY_S)  # one that stays must not keep the loop busy


async def _settled(paths: Callable[[], Iterable[Path]], seen: object) -> object:
    """What the files look like: as in `seen`, or as they stay for a moment."""
    now = files.fingerprint(tuple(paths()))
    while now != seen:
        seen = now
        await asyncio.sleep(SETTLE_S)
        now = files.fingerprint(tuple(paths()))
    return now


async def _ticks(folders: set[Path], *, polls: bool) -> AsyncGenerator[None, None]:
    yield
    watching = awatch(
        *folders,
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        rust_timeout=LOOK_ANYWAY_MS,
        yield_on_timeout=True,
        recursive=False,
        force_polling=polls or None,
        ignore_permission_denied=True,
    )
    async with aclosing(watching):
        async for _ in watching:
            yield


def _folders(paths: Iterable[Path]) -> set[Path]:
    return {folder for path in paths for folder in files.folders_to_watch(path)}
