"""
What a command of `oqto-sandbox run` reads and writes: pipes where its own would be files or sockets of the host.

Whoever holds a file as input can open it anew by `/proc/self/fd/0`, also for writing, whatever no mount shows.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from functools import partial

CHUNK = 1 << 16
INPUT = 0
OUTPUTS = (1, 2)


def hold_places() -> None:
    """Before anything is opened: what comes to the place of a closed input or output would be the command's."""
    for fd in (INPUT, *OUTPUTS):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


class Channels:
    """`input`, `output`, `errors` are descriptors for the command. Enter it, start the command, then `finish`."""

    def __init__(self) -> None:
        self._ours: list[int] = []
        self._pumps: list[threading.Thread] = []
        self.input = self._reading()
        self.output, self.errors = self._writing()

    def started(self) -> None:
        """The command has its own descriptors now, or will never have any; begin to carry what it says."""
        while self._ours:
            os.close(self._ours.pop())
        for pump in self._pumps:
            pump.start()

    def finish(self) -> None:
        """Wait for what the command has written; not for input that nobody reads any more."""
        for pump in self._pumps:
            if not pump.daemon:
                pump.join()

    def _reading(self) -> int:
        if _is_harmless(INPUT):
            return INPUT
        theirs, ours = self._pipe(is_input=True)
        carry = _from_file if _is_file(INPUT) else _from_stream
        self._pumps.append(threading.Thread(target=partial(carry, INPUT, ours), daemon=True))
        return theirs

    def _writing(self) -> tuple[int, int]:
        """One pipe for both where they lead to the same place, so that the order stays."""
        made: dict[tuple[int, int], int] = {}
        found = []
        for fd in OUTPUTS:
            status = os.fstat(fd)
            place = status.st_dev, status.st_ino
            if not _is_harmless(fd) and place not in made:
                made[place], ours = self._pipe(is_input=False)
                self._pumps.append(threading.Thread(target=partial(_from_stream, ours, fd)))
            found.append(made.get(place, fd))
        return found[0], found[1]

    def _pipe(self, *, is_input: bool) -> tuple[int, int]:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        theirs, ours = (reading, writing) if is_input else (writing, reading)
        self._ours.append(theirs)
        return theirs, ours


def _is_harmless(fd: int) -> bool:
    """Pipes have nothing else behind them; a terminal or `/dev/null` is what the sandbox shows, too."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _is_file(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _from_file(source: int, target: int) -> None:
    """Without moving the place in the file: a loop of a shell reads on where it was."""
    at = os.lseek(source, 0, os.SEEK_CUR)
    with contextlib.suppress(OSError):
        while data := os.pread(source, CHUNK, at):
            _write(target, data)
            at += len(data)
    os.close(target)


def _from_stream(source: int, target: int) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(source, CHUNK):
            _write(target, data)
    if target > max(OUTPUTS):
        os.close(target)
    if source > INPUT:
        os.close(source)


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]
