"""One agent process: started exactly as planned, read by lines, ended with everything it started."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

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
# A group that refuses us is no reason to refuse the agent: the other ways of finding it remain.
_ENTER = '{ echo 0 >"$0"; } 2>/dev/null; exec "$@"'
_SIGNAL_BASE = 128  # how shells and bubblewrap pass a signal on as an exit code


class _Pipe(asyncio.Protocol):
    """Hands on the lines that come through a pipe, and its end."""

    def __init__(
        self, splitter: LineSplitter, on_lines: Callable[[list[bytes]], None], on_end: Callable[[], None]
    ) -> None:
        self._splitter = splitter
        self._on_lines = on_lines
        self._on_end = on_end

    def data_received(self, data: bytes) -> None:
        if lines := self._splitter.feed(data):
            self._on_lines(lines)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_end()


class Process:
    """The process of an agent. `on_lines` gets complete lines of stdout, `on_too_long` each dropped one."""

    def __init__(
        self,
        program: subprocess.Popen[bytes],
        on_lines: Callable[[list[bytes]], None],
        on_too_long: Callable[[], None],
    ) -> None:
        """Inside a running loop. `attach` it then."""
        self._program = program
        self._on_lines = on_lines
        self._stdout = LineSplitter(on_too_long)
        self._stderr = LineSplitter(lambda: None, limit=64 * 1024)
        self._stderr_tail: deque[bytes] = deque(maxlen=STDERR_LINES)
        self.exited = asyncio.Event()
        self.ended_output = asyncio.Event()
        self._input: asyncio.WriteTransport | None = None
        self._output: asyncio.ReadTransport | None = None
        self._errors: asyncio.ReadTransport | None = None
        self.scope: Scope

    async def attach(self) -> None:
        """Hear of its end, and begin to read and write. Raises `OSError` where descriptors are scarce."""
        loop = asyncio.get_running_loop()
        ending = os.pidfd_open(self.pid)
        loop.add_reader(ending, self._take_exit, ending)
        pipes = self._program
        self._input, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, pipes.stdin)
        output = partial(_Pipe, self._stdout, self._on_lines, self._end_output)
        self._output, _ = await loop.connect_read_pipe(output, pipes.stdout)
        errors = partial(_Pipe, self._stderr, self._stderr_tail.extend, lambda: None)
        self._errors, _ = await loop.connect_read_pipe(errors, pipes.stderr)

    @property
    def pid(self) -> int:
        return self._program.pid

    @property
    def exit_code(self) -> int | None:
        """As Python has it: negative for a signal; `None` while it lives."""
        return self._program.returncode

    @property
    def stderr_tail(self) -> str:
        lines = [*self._stderr_tail, *filter(None, [self._stderr.rest()])]
        return b"\n".join(lines[-STDERR_LINES:]).decode(errors="replace")

    def _take_exit(self, ending: int) -> None:
        if self._program.poll() is not None:
            asyncio.get_running_loop().remove_reader(ending)
            os.close(ending)
            self.exited.set()

    def _end_output(self) -> None:
        if rest := self._stdout.rest():
            self._on_lines([rest])
        self.ended_output.set()

    def write(self, lines: tuple[bytes, ...]) -> None:
        """Queue `lines` (without newlines) for stdin; never waits. Raises `AgentFailed` when too much waits."""
        pipe = self._input
        if pipe is None or pipe.is_closing():
            raise AgentFailed("the agent has closed its input")
        if pipe.get_write_buffer_size() > STDIN_LIMIT:
            raise AgentFailed("the agent does not read its input; stop the session and start it again")
        pipe.write(b"".join(line + b"\n" for line in lines))

    def pause(self, *, is_paused: bool) -> None:
        """Let the agent wait with its output, or go on."""
        pipe = self._output
        if pipe is None or pipe.is_closing():
            return
        if is_paused:
            pipe.pause_reading()
        else:
            pipe.resume_reading()

    def close_input(self) -> None:
        """The program reads the end of its input."""
        if self._input is not None:
            self._input.close()

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
        for pipe in (self._input, self._output, self._errors):
            if pipe is not None:
                pipe.close()


async def start(
    plan: ConfinedPlan,
    session_id: str,
    on_lines: Callable[[list[bytes]], None],
    on_too_long: Callable[[], None],
) -> Process:
    """Execute `plan`; closes its descriptors in every case. Raises `Invalid` or `AgentFailed`."""
    group = cgroup.create(session_id)
    try:
        process = Process(_execute(plan, group), on_lines, on_too_long)
    except BaseException:  # Ctrl-C, too: an empty group is nobody's to remove later
        if group is not None:
            group.remove()
        raise
    finally:
        for fd in plan.fds:
            os.close(fd)
    process.scope = Scope(session_id, procfs.read(process.pid), group)
    try:
        await process.attach()
    except BaseException:  # by cancelling, too: the process runs and no caller knows it yet
        await process.finish()
        raise
    return process


def _execute(plan: ConfinedPlan, group: cgroup.Cgroup | None) -> subprocess.Popen[bytes]:
    """Without code of ours between fork and exec, so that no page of the runner is copied for it (vfork)."""
    if not Path(plan.cwd).is_dir():
        raise Invalid(f"the folder {plan.cwd} does not exist; choose another workspace")
    try:
        return subprocess.Popen(
            plan.argv if group is None else _entering(group, plan),
            env=dict(plan.env),
            cwd=plan.cwd,
            pass_fds=plan.fds,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
    except OSError as exc:
        raise AgentFailed(f"cannot execute {plan.argv[0]}: {exc.strerror}") from exc


def _entering(group: cgroup.Cgroup, plan: ConfinedPlan) -> tuple[str, ...]:
    """The words of `plan` behind a shell that enters `group` first, so that not even the first child escapes it."""
    if shutil.which(plan.argv[0], path=plan.env.get("PATH")) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return ("/bin/sh", "-c", _ENTER, str(group.procs), *plan.argv)


async def _within(timeout_s: float, event: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()


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
