"""
Daemons that serve the server: started when they are missing, adopted when they already run.

A child outlives a killed server on purpose (agents go on working) and is found again by its Unix
socket. It ends with the last worker of an orderly stop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from oqto_platform.errors import OqtoError
from oqto_platform.peers import listener_pid

log = structlog.get_logger("oqto.children")

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 3.0
PROBE_S = 1.0
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)


_processes: dict[str, subprocess.Popen[bytes]] = {}
"""What this process started, by socket: it may outlive us, and must be reaped by us while it does not."""


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A daemon that listens on `socket` once it can work. Its output goes to `log_file` (0600)."""

    name: str
    argv: tuple[str, ...]
    socket: str
    log_file: str
    env: Mapping[str, str]


class ChildFailed(OqtoError):
    """A daemon of the server does not come up; the sentence ends with what it said last."""

    code, status, title = "child-failed", 503, "Service did not start"


class Children:
    """All children of this server. Only the leading worker starts and restarts them."""

    def __init__(self, leads: Callable[[], bool]) -> None:
        self._leads = leads
        self._children: dict[str, Child] = {}
        self._tries: dict[str, int] = {}

    async def supervise(self, child: Child) -> None:
        """Have `child` running: adopt, start or, on a worker that does not lead, wait for it."""
        self._children[child.name] = child
        if await is_answering(child.socket):
            log.info("child adopted", child=child.name)
        elif self._leads():
            await start(child)
        else:
            await _wait_until(lambda: is_answering(child.socket), child)

    async def keep(self) -> None:
        """One round of the supervisor; call it every `PROBE_S` while leading."""
        for child in list(self._children.values()):
            if not self._leads() or await is_answering(child.socket):
                continue
            tries = self._tries[child.name] = self._tries.get(child.name, 0) + 1
            await asyncio.sleep(BACKOFF_S[min(tries, len(BACKOFF_S)) - 1])
            log.warning("child is gone, starting it again", child=child.name, tries=tries)
            _reap(child)
            try:
                await start(child)
            except ChildFailed as exc:
                log.error("child does not start", child=child.name, reason=exc.detail)
            else:
                self._tries[child.name] = 0

    async def stop_all(self) -> None:
        """End every child; each gets `STOP_TIMEOUT_S` before it is killed."""
        await asyncio.gather(*(stop(child) for child in self._children.values()))
        self._children.clear()


async def start(child: Child) -> int:
    """Start a detached process and wait until its socket answers; returns the pid."""
    process = await asyncio.to_thread(_spawn, child)
    try:
        await _wait_until(lambda: is_answering(child.socket), child, process)
    except BaseException:  # by cancelling, too: a detached process would stay behind
        _kill(process)
        raise
    log.info("child started", child=child.name, pid=process.pid)
    return process.pid


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End one that did not come up, with what it started; else every try would leave one more."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _spawn(child: Child) -> subprocess.Popen[bytes]:
    # Not asyncio's: its transport would have to live as long as a process that outlives the loop.
    output = _open_log(child)
    try:
        _processes[child.socket] = subprocess.Popen(
            child.argv,
            env=dict(child.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )
    except OSError as exc:
        raise ChildFailed(f"{child.name}: cannot execute {child.argv[0]}: {exc.strerror}") from exc
    finally:
        os.close(output)
    return _processes[child.socket]


def _open_log(child: Child) -> int:
    try:
        Path(child.log_file).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(child.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise ChildFailed(f"{child.name}: cannot write {child.log_file}: {exc.strerror}") from exc


async def stop(child: Child) -> None:
    """SIGTERM to whoever listens on the socket, SIGKILL when it does not go."""
    pid = await asyncio.to_thread(listener_pid, child.socket)
    if pid is not None and pid != os.getpid():
        await _end(pid)
    if process := _processes.get(child.socket):
        await _is_gone(process.pid, STOP_TIMEOUT_S)  # it may have closed its socket and not be done yet
    _reap(child)


async def _end(pid: int) -> None:
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            return
        if await _is_gone(pid, STOP_TIMEOUT_S):
            return


def _reap(child: Child) -> None:
    """Take back the handle of what we started; it has ended, or hangs and is ended."""
    process = _processes.pop(child.socket, None)
    if process is not None and process.poll() is None:
        _kill(process)


async def is_answering(path: str) -> bool:
    """Whether somebody accepts on the Unix socket `path`."""
    return await asyncio.to_thread(listener_pid, path) is not None


async def _wait_until(
    ready: Callable[[], Awaitable[bool]], child: Child, process: subprocess.Popen[bytes] | None = None
) -> None:
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
    while not await ready():
        if process is not None and process.poll() is not None:
            raise ChildFailed(
                f"{child.name} ended at once (exit {process.returncode}): {_tail(child.log_file)}"
            )
        if asyncio.get_running_loop().time() > deadline:
            raise ChildFailed(
                f"{child.name} did not listen on {child.socket} within {START_TIMEOUT_S:g} s: {_tail(child.log_file)}"
            )
        await asyncio.sleep(0.02)


async def _is_gone(pid: int, timeout_s: float) -> bool:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while asyncio.get_running_loop().time() < deadline:
        if not _is_alive(pid):
            return True
        await asyncio.sleep(0.02)
    return False


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _tail(path: str, lines: int = 5) -> str:
    try:
        return " | ".join(Path(path).read_text(errors="replace").splitlines()[-lines:]) or "it said nothing"
    except OSError:
        return "it said nothing"
