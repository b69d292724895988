"""Waits for the agent, passes signals on, ends it when its time is over, and tells why it died."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix
import select
import time

from oqto_plugin_sandbox.init.kernel import say, text_of

# Annotations are never evaluated, so the module `typing` is not needed while this runs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oqto_plugin_sandbox.init.forward import Forwarder

SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGCHLD = 1, 2, 9, 15, 17
GRACE_S = 5.0
SETTLE_S = 0.05


class Supervisor:
    """Waits for the agent and passes signals on; ends it when its time is over."""

    def __init__(self, config: dict[str, Any], poll: select.epoll, wakeup: int) -> None:
        self._causes: list[tuple[int, str]] = config["causes"]
        self._wall_s: int = config["wall_s"]
        self._report_fd: int = config["report"]
        self._ends_at = time.monotonic() + self._wall_s if self._wall_s else 0.0
        self._signal_at_end = SIGTERM
        self._poll = poll
        self._wakeup = wakeup
        self._agent = 0

    def run(self, agent: int, forwarder: Forwarder | None) -> None:
        self._agent = agent
        while True:
            left_s = max(0.0, self._ends_at - time.monotonic()) if self._wall_s else -1
            for fd, _ in self._poll.poll(left_s):
                if forwarder and fd != self._wakeup:
                    forwarder.ready(fd)
            self._signals()
            if self._wall_s and time.monotonic() >= self._ends_at:
                self._time_is_over()

    def _time_is_over(self) -> None:
        """SIGTERM first, SIGKILL after the grace period."""
        say("ended: wall clock limit " + str(self._wall_s) + " s")
        self._report("wall")
        self._tell(self._signal_at_end)
        self._signal_at_end = SIGKILL
        self._ends_at += GRACE_S

    def _signals(self) -> None:
        try:
            received = posix.read(self._wakeup, 256)
        except BlockingIOError:
            return
        for number in received:
            if number == SIGCHLD:
                self._reap()
            else:
                self._tell(number)

    def _tell(self, number: int) -> None:
        """To the agent's process group; to itself alone as long as it has none."""
        for target in (-self._agent, self._agent):
            try:
                posix.kill(target, number)
            except OSError:
                continue
            return

    def _reap(self) -> None:
        while True:
            try:
                pid, status = posix.waitpid(-1, posix.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self._agent:
                self._finish(status)

    def _finish(self, status: int) -> None:
        code = posix.waitstatus_to_exitcode(status)
        if code == -SIGKILL:
            self._explain_kill()
        self._report_rest()
        posix._exit(code if code >= 0 else 128 - code)  # noqa: SLF001

    def _report(self, *words: str) -> None:
        """To the launcher's side. A pipe that is full or that nobody reads is no reason to wait."""
        line = "\t".join([word.replace("\t", " ").replace("\n", " ") for word in words]) + "\n"
        try:
            posix.write(self._report_fd, line.encode(errors="replace"))
        except OSError:
            return

    def _report_rest(self) -> None:
        """What still runs ends with this process. A moment for those that got the agent's signal, too."""
        if self._report_fd < 0 or not running():
            return
        time.sleep(SETTLE_S)
        if names := running():
            self._report("rest", *names)

    def _explain_kill(self) -> None:
        for fd, sentence in self._causes:
            posix.lseek(fd, 0, 0)
            counts = dict(line.split(b" ", 1) for line in posix.read(fd, 4096).splitlines() if b" " in line)
            if int(counts.get(b"oom_kill", b"0")):
                say("killed: " + sentence)
                return


def running() -> list[str]:
    """Names of the other processes that live in here."""
    names = []
    for entry in posix.listdir("/proc"):
        if not entry.isdigit() or entry == "1":
            continue
        try:
            name, _, rest = text_of("/proc/" + entry + "/stat").rpartition(")")
        except OSError:
            continue
        if rest.split()[0] not in ("Z", "X"):
            names.append(name.partition("(")[2])
    return names


def watch_signals(poll: select.epoll) -> int:
    """Signals arrive as bytes in a pipe that the loop reads; the reading end."""
    reading, writing = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
    for number in (SIGHUP, SIGINT, SIGTERM, SIGCHLD):
        _signal.signal(number, lambda *_: None)
    _signal.set_wakeup_fd(writing)
    poll.register(reading, select.EPOLLIN)
    return reading
