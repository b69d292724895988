"""What a path shows under a plan, computed without mounting anything: for checks before a start, and for `explain`."""

# ruff: noqa: PTH118, PTH120 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from operator import itemgetter
from typing import Literal, TypeAlias

import msgspec

from oqto_plugin_sandbox.plan.model import (
    Bind,
    Copy,
    Data,
    Folder,
    Hide,
    Link,
    Op,
    Plan,
    Seal,
    Tmpfs,
    is_within,
    upward,
)

State: TypeAlias = Literal["absent", "hidden", "ro", "rw", "private", "kernel"]
MAX_LINKS = 16


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """`private`: a writable place of the sandbox's own, empty at the start. `source`: the path on the host."""

    state: State
    why: str = ""
    source: str = ""


LEADS_ON = Sight(state="ro", why="leads to something visible")


class _View:
    """A plan, arranged for looking paths up."""

    def __init__(self, plan: Plan, is_there: Callable[[str], bool]) -> None:
        self._is_there = is_there
        self._below = Counter(folder for op in plan.ops for folder in upward(op.dest))
        mounts = ((at, op) for at, op in enumerate(plan.ops) if not isinstance(op, (Seal, Link, Folder)))
        self._last = {op.dest: (at, op) for at, op in mounts}
        self._sealed = {op.dest for op in plan.ops if isinstance(op, Seal)}
        self._links = {op.dest: op.target for op in plan.ops if isinstance(op, Link)}

    def show(self, path: str) -> Sight:
        path = self._follow(path)
        top = self._top(path)
        match top:
            case None:
                return LEADS_ON if self._below[path] else Sight(state="absent", why="not part of the sandbox")
            case Hide(why=why):
                return Sight(state="hidden", why=why)
            case Bind() | Copy():
                return self._bound(path, top)
            case Tmpfs():
                return self._empty(top, path)
            case Data():
                return Sight(state="ro", why="made for the sandbox")
            case _:
                return Sight(state="kernel", why="kernel interface")

    def _bound(self, path: str, op: Bind | Copy) -> Sight:
        origin = op.source + path.removeprefix(op.dest)
        writable = isinstance(op, Bind) and op.writable
        if not writable and not self._is_there(origin):
            return Sight(state="absent", why=op.why, source=origin)
        return Sight(state="rw" if writable else "ro", why=op.why, source=origin)

    def _empty(self, top: Tmpfs, path: str) -> Sight:
        if not top.mode & 0o444:
            return Sight(state="hidden", why=top.why)
        if self._below[path] > is_within(top.dest, path):  # something else than the folder itself
            return LEADS_ON
        return Sight(state="absent" if top.dest in self._sealed else "private", why=top.why)

    def _top(self, path: str) -> Op | None:
        """The last mount at or above `path`: a later one covers whatever was there."""
        found = [self._last[folder] for folder in upward(path) if folder in self._last]
        return max(found, key=itemgetter(0))[1] if found else None

    def _follow(self, path: str) -> str:
        """`path` with the plan's own links replaced by what they point to."""
        for _ in range(MAX_LINKS):
            link = next((folder for folder in upward(path) if folder in self._links), None)
            if link is None:
                return path
            target = os.path.join(os.path.dirname(link), self._links[link])
            path = os.path.normpath(target + path.removeprefix(link))
        return path


def show(plan: Plan, path: str) -> Sight:
    """What the agent finds at `path`."""
    return _View(plan, os.path.lexists).show(path)


def broken_promises(
    plan: Plan, hidden: list[str], read_only: list[str], is_there: Callable[[str], bool]
) -> list[str]:
    """Sentences about paths that the plan would show although they are denied; empty when the plan holds."""
    view = _View(plan, is_there)
    sights = [(path, view.show(path)) for path in hidden]
    found = [
        f"{path} would be readable" for path, sight in sights if sight.source and sight.state in ("ro", "rw")
    ]
    found += [f"{path} would be writable" for path in read_only if view.show(path).state == "rw"]
    return found
