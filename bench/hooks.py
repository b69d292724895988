"""What hooks cost. `python bench/hooks.py [--runs 7]`

Call: a hook with five implementations, each `async def` and each plain, against calling the same functions directly; on
uvloop, as the server and the runner have it, in time of the processor. Start: from exec until the server is open, with
100 installed plugins (a section and two more hooks each) against none.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import uvloop
from _figures import claim, fact, middle
from start import start_server

from oqto_platform.hooks import Hooks, hookimpl
from oqto_platform.testing.site import Site
from oqto_platform.testing.stack import Stack
from oqto_platform.types import AccountId, Session, SessionId

IMPLEMENTATIONS, PLUGINS = 5, 100
CALL_US, START_S = 30, 0.3
CALLS, STRETCH = 4_000, 40
SESSION = Session(id=SessionId("ses_bench"), account_id=AccountId("acc_bench"), workspace="/w")

PLUGIN = """
from typing import Annotated
from oqto_platform import Section, hookimpl, key

class Mine(Section, frozen=True):
    size: Annotated[int, key("How large.", ge=1)] = 1
    name: Annotated[str, key("What it is called.")] = "x"

@hookimpl
def register_config(): return Mine

@hookimpl
def session_starting(session, account): ...

@hookimpl
async def session_stopped(session, outcome): ...
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    for kind, function in (("async", told_async), ("plain", told_plain)):
        over_us = min(uvloop.run(overhead(function)) for _ in range(runs))
        claim(f"hook with {IMPLEMENTATIONS} {kind} implementations over calling them", over_us, CALL_US, "µs")
    start(runs)


async def told_async(session: Session) -> None: ...


def told_plain(session: Session) -> None: ...


async def overhead(function: Callable[[Session], Awaitable[None] | None]) -> float:
    """Microseconds that one call of the hook takes beyond its implementations."""
    hooks = Hooks("core")
    for number in range(IMPLEMENTATIONS):
        hooks.register(SimpleNamespace(session_started=hookimpl(copy_of(function))), f"p{number}")
    hooks.checked()
    direct = await timed(lambda: directly(function))
    return await timed(lambda: hooks.call.session_started(SESSION)) - direct


def copy_of(
    function: Callable[[Session], Awaitable[None] | None],
) -> Callable[[Session], Awaitable[None] | None]:
    """A function of its own for each plugin: the mark is set on it."""
    return type(function)(function.__code__, function.__globals__, function.__name__)  # type: ignore[return-value, call-arg, arg-type]


async def directly(function: Callable[[Session], Awaitable[None] | None]) -> None:
    for _ in range(IMPLEMENTATIONS):
        if (answer := function(SESSION)) is not None:
            await answer


async def timed(call: Callable[[], Awaitable[None]]) -> float:
    """The best of many short stretches: a long one is always interrupted, and what ran meanwhile has the caches."""
    best = float("inf")
    for _ in range(CALLS // STRETCH):
        begun = time.thread_time()
        for _ in range(STRETCH):
            await call()
        best = min(best, (time.thread_time() - begun) / STRETCH * 1e6)
        await asyncio.sleep(0)
    return best


def start(runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bare, many = Path(folder) / "bare", Path(folder) / "many"
        site = Site(Path(folder))
        names = [f"bench{number}" for number in range(PLUGINS)]
        for name in names:
            site.install(name, core=PLUGIN)
        stacks = (
            Stack(bare, plugins=("builtin",)),
            Stack(many, plugins=tuple(names), env={"PYTHONPATH": str(site.folder)}),
        )
        times: tuple[list[float], list[float]] = ([], [])
        for stack in stacks:
            with stack:
                pass  # makes the database, and the compiled modules
        for _ in range(runs):
            for stack, found in zip(stacks, times, strict=True):
                _first_s, _spent_s, open_s = start_server(stack)
                found.append(open_s)
    # The quickest of each: what else the machine does comes on top of both, and not evenly.
    added_s = min(times[1]) - min(times[0])
    fact("server start", f"{middle(times[0]):.2f} s without plugins, {middle(times[1]):.2f} s with {PLUGINS}")
    claim(f"{PLUGINS} installed plugins add to the start", added_s, START_S, "s")


if __name__ == "__main__":
    main()
