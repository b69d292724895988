"""One agent process: started exactly as planned, read by lines, ended with everything it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

from oqto_platform.errors import AgentFailed, Invalid
from oqto_platform.types import ConfinedPlan
from oqto_runner import cgroup, procfs
from oqto_runner.lines import LineSplitter
from oqto_runner.scope import Scope
from oqto_runner.store import Footprint

STDERR_LINES = 50
STDIN_LIMIT = 64 * 2**20
"""Bytes that may wait for an agent which does not read its input."""

STDIN_GRACE_S = 0.5
TERM_GRACE_S = 1.5
EOF_GRACE_S = 1.0
_STDOUT, _STDERR = 1, 2
_SIGNAL_BASE = 128  # how shells and bubblewrap pass a signal on as an exit code


class Process(asyncio.SubprocessProtocol):
    """The process of an agent. `on_lines` gets complete lines of stdout, `on_too_long` each dropped one."""

    def __init__(self, on_lines: Callable[[list[bytes]], None], on_too_long: Callable[[], None]) -> None:
        self._on_lines = on_lines
        self._stdout = LineSplitter(on_too_long)
        self._stderr = LineSplitter(lambda: None, limit=64 * 1024)
        self._stderr_tail: deque[bytes] = deque(maxlen=STDERR_LINES)
        self.exited = asyncio.Event()
        self.ended_output = asyncio.Event()
        self._transport: asyncio.SubprocessTransport
        self.scope: Scope

    @property
    def pid(self) -> int:
        return self._transport.get_pid()

    @property
    def exit_code(self) -> int | None:
        """As Python has it: negative for a signal; `None` while it lives."""
        return self._transport.get_returncode()

    @property
    def stderr_tail(self) -> str:
        lines = [*self._stderr_tail, *filter(None, [self._stderr.rest()])]
        return b"\n".join(lines[-STDERR_LINES:]).decode(errors="replace")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == _STDERR:
            self._stderr_tail.extend(self._stderr.feed(data))
        elif lines := self._stdout.feed(data):
            self._on_lines(lines)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == _STDOUT:
            if rest := self._stdout.rest():
                self._on_lines([rest])
            self.ended_output.set()

    def process_exited(self) -> None:
        self.exited.set()

    def write(self, lines: tuple[bytes, ...]) -> None:
        """Queue `lines` (without newlines) for stdin; never waits. Raises `AgentFailed` when too much waits."""
        pipe = cast("asyncio.WriteTransport | None", self._transport.get_pipe_transport(0))
        if pipe is None or pipe.is_closing():
            raise AgentFailed("the agent has closed its input")
        if pipe.get_write_buffer_size() > STDIN_LIMIT:
            raise AgentFailed("the agent does not read its input; stop the session and start it again")
        pipe.write(b"".join(line + b"\n" for line in lines))

    def pause(self, *, is_paused: bool) -> None:
        """Let the agent wait with its output, or go on."""
        pipe = cast("asyncio.ReadTransport | None", self._transport.get_pipe_transport(1))
        if pipe is None or pipe.is_closing():
            return
        if is_paused:
            pipe.pause_reading()
        else:
            pipe.resume_reading()

    def close_input(self) -> None:
        """The program reads the end of its input."""
        if pipe := self._transport.get_pipe_transport(0):
            pipe.close()

    async def end(self) -> None:
        """The kill ladder: end of input, SIGTERM to the group, SIGKILL to all there is."""
        self.close_input()
        if not await _within(STDIN_GRACE_S, self.exited):
            self.scope.terminate()
            await _within(TERM_GRACE_S, self.exited)
        await self.finish()

    async def finish(self) -> None:
        """Leave nothing alive, then read what was still in the pipe, then give the pipes back."""
        await self.scope.kill()
        await _within(EOF_GRACE_S, self.exited)
        # Somebody outside the session may hold the pipe; what it says is not the agent's.
        await _within(EOF_GRACE_S, self.ended_output)
        self._transport.close()


async def start(
    plan: ConfinedPlan,
    session_id: str,
    on_lines: Callable[[list[bytes]], None],
    on_too_long: Callable[[], None],
) -> Process:
    """Execute `plan`; closes its descriptors in every case. Raises `Invalid` or `AgentFailed`."""
    group = cgroup.create(session_id)
    entry = group.open_procs() if group is not None else None
    execution = asyncio.ensure_future(_execute(plan, entry, partial(Process, on_lines, on_too_long)))
    try:
        process = await asyncio.shield(execution)
    except asyncio.CancelledError:
        # It takes milliseconds and cannot be taken back half-way; what it began is ended instead.
        process = await execution
        process.scope = Scope(session_id, procfs.read(process.pid), group)
        await process.finish()
        raise
    except BaseException:
        if group is not None:
            group.remove()
        raise
    finally:
        for fd in (*plan.fds, *([entry] if entry is not None else [])):
            os.close(fd)
    process.scope = Scope(session_id, procfs.read(process.pid), group)
    return process


async def _execute(plan: ConfinedPlan, entry: int | None, make: Callable[[], Process]) -> Process:
    if not Path(plan.cwd).is_dir():
        raise Invalid(f"the folder {plan.cwd} does not exist; choose another workspace")
    loop = asyncio.get_running_loop()
    try:
        _, process = await loop.subprocess_exec(
            make,
            *plan.argv,
            env=dict(plan.env),
            cwd=plan.cwd,
            pass_fds=plan.fds,
            start_new_session=True,
            # Between fork and exec, so that not even the first child of the agent escapes the group.
            preexec_fn=None if entry is None else partial(_enter, entry),
        )
    except OSError as exc:
        raise AgentFailed(f"cannot execute {plan.argv[0]}: {exc.strerror}") from exc
    return process


async def _within(timeout_s: float, event: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()


def _enter(entry: int) -> None:
    # A group that refuses us is no reason to refuse the agent: the other ways of finding it remain.
    with contextlib.suppress(OSError):
        os.write(entry, b"0")


def footprint(process: Process) -> Footprint:
    """What recognises the process after a crash of the runner."""
    leader, group = process.scope.leader, process.scope.group
    return Footprint(
        boot=procfs.boot_id(),
        pid=process.pid,
        started=leader.started if leader else 0,
        group=str(group.path) if group else "",
    )


def expected_footprint(session_id: str) -> Footprint:
    """What recognises the process from its first moment, before it has a number."""
    return Footprint(boot=procfs.boot_id(), group=str(cgroup.place(session_id) or ""))


def describe_exit(code: int) -> str:
    """In words, with the likely cause: `killed by signal 9 (SIGKILL): perhaps out of memory`."""
    if code < 0:
        return f"killed by signal {_signal(-code)}"
    if code > _SIGNAL_BASE and (name := _signal(code - _SIGNAL_BASE)):
        return f"exited with code {code}, which stands for signal {name}"
    return f"exited with code {code}"


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return ""
    return f"{number} ({name})" + (": perhaps out of memory" if number == signal.SIGKILL else "")
