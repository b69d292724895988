"""The process table at one moment, for those who ask it about many sessions."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable

from oqto_runner import procfs
from oqto_runner.procfs import Proc

MARK = b"OQTO_SESSION_ID="


class Census:
    """Sorted once: a question about a session costs what it finds, however many processes there are."""

    def __init__(self, procs: dict[int, Proc]) -> None:
        self._procs = procs
        self._children: defaultdict[int, list[int]] = defaultdict(list)
        self._grouped: defaultdict[int, set[int]] = defaultdict(set)
        self._marked: defaultdict[bytes, set[int]] = defaultdict(set)
        for proc in procs.values():
            self._children[proc.parent].append(proc.pid)
            self._grouped[proc.group].add(proc.pid)
            self._grouped[proc.session].add(proc.pid)

    @classmethod
    def taken(cls, *, reads_all: bool = False) -> Census:
        """
        Read now, which takes milliseconds: in a thread, where others wait for the loop.

        Whose mark a process carries is known of this one's children, and with `reads_all` of every process.
        """
        census = cls(procfs.table())
        census._look_for_marks(census._procs if reads_all else census._children[os.getpid()])
        return census

    def _look_for_marks(self, pids: Iterable[int]) -> None:
        for pid in pids:
            for entry in procfs.environment(pid):
                if entry.startswith(MARK):
                    self._marked[entry].add(pid)

    def find(self, key: tuple[int, int]) -> Proc | None:
        """The process that had `key`, and not one which has its number now."""
        proc = self._procs.get(key[0])
        return proc if proc is not None and proc.key == key else None

    def grouped(self, leader: Proc) -> set[int]:
        """Who is in the process group or the session of `leader`, unless its number is somebody else's by now."""
        if self._procs.get(leader.pid, leader).key != leader.key:
            return set()
        return self._grouped.get(leader.pid, set())

    def marked(self, mark: bytes) -> set[int]:
        """Who began with the environment entry `mark`."""
        return self._marked.get(mark, set())

    def below(self, roots: set[int]) -> list[Proc]:
        """`roots` and everything that descends from them."""
        found: set[int] = set()
        todo = list(roots)
        while todo:
            if (pid := todo.pop()) not in found:
                found.add(pid)
                todo.extend(self._children.get(pid, ()))
        return [self._procs[pid] for pid in found if pid in self._procs]
