"""
The first process inside: checks the sandbox, forwards ports, runs the agent, and outlives nothing.

bubblewrap starts this file as PID 1 with an interpreter that has no site packages and no environment of
ours. It is not imported by the rest of the package and imports only C modules, because its start is part
of every start: `socket`, `signal`, `subprocess` and `ctypes` would each cost more than the sandbox itself.

Order matters: control groups, self-check, listeners, fork; then the agent alone gets its own session,
limits, Landlock, the second system-call filter. Any failure before that ends with code 125 and a sentence.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import array
import marshal
import posix
import select
import sys

# Annotations are never evaluated, so the module `typing` is not needed while this runs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

CANNOT_CONFINE = 125
CANNOT_EXECUTE = 126
NOT_FOUND = 127
SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGTERM, SIGCHLD = 1, 2, 9, 13, 15, 17
ENOENT = 2

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 22, 38
SECCOMP_MODE_FILTER = 2
LANDLOCK_CREATE, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT = 444, 445, 446

CHUNK = 256 * 1024
GRACE_S = 5.0


def say(message: str) -> None:
    posix.write(2, ("oqto-sandbox: " + message + "\n").encode(errors="replace"))


def fail(message: str, code: int = CANNOT_CONFINE) -> NoReturn:
    """Say why and end; nothing of the agent has run."""
    say(message)
    posix._exit(code)  # noqa: SLF001 - its public name is in os, which is not imported here


def read_all(fd: int) -> bytes:
    parts = []
    while part := posix.read(fd, 1 << 20):
        parts.append(part)
    posix.close(fd)
    return b"".join(parts)


def text_of(path: str) -> str:
    return read_all(posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)).decode(errors="surrogateescape")


# -- the C library, without the ctypes package ------------------------------------------------------


class Kernel:
    """prctl and syscall. Integers that may be pointers are passed as C longs."""

    def __init__(self) -> None:
        import _ctypes

        class Long(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001 - what c_long derives from
            _type_ = "l"

        class Function(_ctypes.CFuncPtr):
            _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
            _restype_ = Long

        library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
        self._long = Long
        self._errno = _ctypes.get_errno
        self._prctl = Function(_ctypes.dlsym(library, "prctl"))
        self._syscall = Function(_ctypes.dlsym(library, "syscall"))

    def prctl(self, option: int, *arguments: int) -> None:
        values = [self._long(value) for value in (option, *arguments, 0, 0, 0, 0)[:5]]
        if self._value(self._prctl(*values)) < 0:
            raise OSError(self._errno(), "prctl " + str(option))

    def syscall(self, number: int, *arguments: int | bytes) -> int:
        values = [a if isinstance(a, bytes) else self._long(a) for a in arguments]
        answer = self._value(self._syscall(self._long(number), *values))
        if answer < 0:
            raise OSError(self._errno(), "system call " + str(number))
        return answer

    @staticmethod
    def _value(answer: Any) -> int:
        value: int = getattr(answer, "value", answer)
        return value


# -- self-check -------------------------------------------------------------------------------------


def unescape(field: str) -> str:
    r"""A path of mountinfo: space, tab, newline and backslash are written as `\ooo`."""
    parts = field.split("\\")
    return parts[0] + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts[1:])


def mounted() -> dict[str, str]:
    """Mount point to `ro` or `rw`; of several mounts at one place the last is on top."""
    fields = (line.split(" ") for line in text_of("/proc/self/mountinfo").splitlines())
    return {unescape(field[4]): field[5].split(",")[0] for field in fields}


def check_mounts(wanted: list[tuple[str, str]]) -> None:
    """Every mount of the plan is where the plan says, no symlink led it elsewhere, and read-only is so."""
    found = mounted()
    for path, access in wanted:
        if path not in found:
            fail("self-check: nothing is mounted at " + path)
        if access == "ro" and found[path] != "ro":
            fail("self-check: " + path + " is writable")


def check_process(wanted: list[tuple[str, str]]) -> None:
    lines = dict(line.split(":\t", 1) for line in text_of("/proc/self/status").splitlines() if ":\t" in line)
    for name, value in wanted:
        if lines.get(name, "").strip() != value:
            fail("self-check: " + name + " is " + lines.get(name, "missing").strip() + ", not " + value)


# -- forwarding -------------------------------------------------------------------------------------


class Flow:
    """One direction of a connection: at most one chunk waits, so a slow reader slows its writer."""

    def __init__(self, source: _socket.socket, target: _socket.socket) -> None:
        self.source = source
        self.target = target
        self.waiting = b""
        self.is_ended = False

    def move(self) -> None:
        """Read if nothing waits, write what waits. Raises `OSError` when the connection is broken."""
        if not self.waiting and not self.is_ended:
            self._receive()
        if self.waiting:
            self.waiting = self.waiting[self._send() :]

    def _receive(self) -> None:
        try:
            self.waiting = self.source.recv(CHUNK)
        except BlockingIOError:
            return
        if not self.waiting:
            self.is_ended = True
            self.target.shutdown(_socket.SHUT_WR)

    def _send(self) -> int:
        try:
            return self.target.send(self.waiting)
        except BlockingIOError:
            return 0


class Connection:
    """A client inside and the Unix socket outside."""

    def __init__(self, client: _socket.socket, server: _socket.socket) -> None:
        self.ends = (client, server)
        self.flows = (Flow(client, server), Flow(server, client))

    def move(self) -> bool:
        """Whether it goes on."""
        try:
            for flow in self.flows:
                flow.move()
        except OSError:
            return False
        return not all(flow.is_ended for flow in self.flows)

    def interest(self, end: _socket.socket) -> int:
        events = 0
        for flow in self.flows:
            if flow.source is end and not flow.waiting and not flow.is_ended:
                events |= select.EPOLLIN
            if flow.target is end and flow.waiting:
                events |= select.EPOLLOUT
        return events


class Forwarder:
    """Listens on 127.0.0.1 inside and forwards to Unix sockets outside."""

    def __init__(self, poll: select.epoll, relays: list[tuple[int, str]]) -> None:
        self._poll = poll
        self._listeners: dict[int, tuple[_socket.socket, str]] = {}
        self._connections: dict[int, Connection] = {}
        for port, path in relays:
            self._listen(port, path)

    def _listen(self, port: int, path: str) -> None:
        listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as exc:
            fail("cannot listen on port " + str(port) + " inside: " + str(exc.strerror))
        listener.listen(128)
        listener.setblocking(False)
        self._listeners[listener.fileno()] = (listener, path)
        self._poll.register(listener.fileno(), select.EPOLLIN)

    def ready(self, fd: int) -> None:
        if fd in self._listeners:
            self._accept(*self._listeners[fd])
        elif connection := self._connections.get(fd):
            self._advance(connection)

    def _accept(self, listener: _socket.socket, path: str) -> None:
        try:
            fd, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - what socket.accept calls
        except OSError:
            return
        client = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, fd)
        server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        client.setblocking(False)
        server.setblocking(False)
        try:
            client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            server.connect(path)
        except OSError:
            client.close()
            server.close()
            return
        self._add(Connection(client, server))

    def _add(self, connection: Connection) -> None:
        for end in connection.ends:
            self._connections[end.fileno()] = connection
            self._poll.register(end.fileno(), connection.interest(end))

    def _advance(self, connection: Connection) -> None:
        goes_on = connection.move()
        for end in connection.ends:
            if goes_on:
                self._poll.modify(end.fileno(), connection.interest(end))
            else:
                self._connections.pop(end.fileno(), None)
                end.close()


# -- the agent --------------------------------------------------------------------------------------


def restrict_files(kernel: Kernel, handled: bytes, allowed: list[tuple[str, int]]) -> None:
    """Landlock: writes only where `allowed` says; `handled` is `struct landlock_ruleset_attr`."""
    ruleset = kernel.syscall(LANDLOCK_CREATE, handled, len(handled), 0)
    for path, rights in allowed:
        folder = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
        rule = array.array("Q", [rights]).tobytes() + array.array("i", [folder]).tobytes()
        kernel.syscall(LANDLOCK_ADD_RULE, ruleset, 1, rule, 0)
        posix.close(folder)
    kernel.syscall(LANDLOCK_RESTRICT, ruleset, 0)
    posix.close(ruleset)


def limit(kernel: Kernel, call: int, number: int, value: int) -> None:
    """Lower an rlimit, soft and hard; never above what is allowed already. `struct rlimit64`: soft, hard."""
    held = array.array("Q", [0, 0])
    kernel.syscall(call, 0, number, 0, held.buffer_info()[0])
    wanted = min(value, held[1])  # RLIM_INFINITY is the largest number
    kernel.syscall(call, 0, number, array.array("Q", [wanted, wanted]).tobytes(), 0)


def filter_calls(kernel: Kernel, program: bytes) -> None:
    """Stack a seccomp filter: `struct sock_fprog` is a count and, aligned, a pointer."""
    code = array.array("B", program)
    header = array.array("Q", [len(program) // 8, code.buffer_info()[0]])
    kernel.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header.buffer_info()[0])


def become_agent(config: dict[str, Any], kernel: Kernel) -> None:
    """In the child: everything that only the agent may not do, then its program."""
    posix.setsid()
    for number in (SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGPIPE):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    for number, value in config["rlimits"]:
        limit(kernel, config["prlimit"], number, value)
    kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)
    if config["landlock"]:
        restrict_files(kernel, *config["landlock"])
    if config["filter"]:
        filter_calls(kernel, config["filter"])
    posix.closerange(3, 1 << 16)
    execute(config["argv"])


def execute(argv: list[str]) -> None:
    environment = dict(posix.environ)
    folders = environment.get(b"PATH", b"/usr/bin:/bin").decode().split(":")
    candidates = [argv[0]] if "/" in argv[0] else [folder + "/" + argv[0] for folder in folders]
    reason: int | None = ENOENT
    for path in candidates:
        try:
            posix.execve(path, argv, environment)
        except OSError as exc:
            reason = exc.errno if exc.errno != ENOENT else reason
    what = "no such program" if reason == ENOENT else posix.strerror(reason or 0)
    fail("cannot run " + argv[0] + ": " + what, NOT_FOUND if reason == ENOENT else CANNOT_EXECUTE)


def start(config: dict[str, Any], kernel: Kernel) -> int:
    pid = posix.fork()
    if pid:
        return pid
    try:
        become_agent(config, kernel)
    except OSError as exc:
        fail("cannot confine the agent: " + str(exc))
    except BaseException as exc:  # noqa: BLE001 - whatever went wrong, the agent must not run
        fail("cannot confine the agent: " + repr(exc))
    return 0


class Supervisor:
    """Waits for the agent and passes signals on; ends it when its time is over."""

    def __init__(self, config: dict[str, Any], poll: select.epoll, wakeup: int) -> None:
        self._causes: list[tuple[int, str]] = config["causes"]
        self._wall_s: int = config["wall_s"]
        self._ends_at = monotonic() + self._wall_s if self._wall_s else 0.0
        self._signal_at_end = SIGTERM
        self._poll = poll
        self._wakeup = wakeup
        self._agent = 0

    def run(self, agent: int, forwarder: Forwarder) -> None:
        self._agent = agent
        while True:
            left_s = max(0.0, self._ends_at - monotonic()) if self._wall_s else -1
            for fd, _ in self._poll.poll(left_s):
                if fd != self._wakeup:
                    forwarder.ready(fd)
            self._signals()
            if self._wall_s and monotonic() >= self._ends_at:
                self._time_is_over()

    def _time_is_over(self) -> None:
        """SIGTERM first, SIGKILL after the grace period."""
        say("ended: wall clock limit " + str(self._wall_s) + " s")
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
        posix._exit(code if code >= 0 else 128 - code)  # noqa: SLF001

    def _explain_kill(self) -> None:
        for fd, sentence in self._causes:
            posix.lseek(fd, 0, 0)
            counts = dict(line.split(b" ", 1) for line in posix.read(fd, 4096).splitlines() if b" " in line)
            if int(counts.get(b"oom_kill", b"0")):
                say("killed: " + sentence)
                return


def monotonic() -> float:
    import time

    return time.monotonic()


def watch_signals(poll: select.epoll) -> int:
    """Signals arrive as bytes in a pipe that the loop reads; the reading end."""
    reading, writing = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
    for number in (SIGHUP, SIGINT, SIGTERM, SIGCHLD):
        _signal.signal(number, lambda *_: None)
    _signal.set_wakeup_fd(writing)
    poll.register(reading, select.EPOLLIN)
    return reading


def enter_groups(fds: list[int]) -> None:
    """Join the control groups that were made for this session, through descriptors opened outside."""
    for fd in fds:
        try:
            posix.write(fd, b"0")
        except OSError as exc:
            fail("cannot enter the control group: " + str(exc))
        posix.close(fd)


def main() -> None:
    config = marshal.loads(read_all(int(sys.argv[1])))  # noqa: S302 - written by the launcher, sealed
    config["argv"] = sys.argv[2:]
    kernel = Kernel()
    enter_groups(config["groups"])
    check_mounts(config["mounts"])
    check_process(config["status"])
    kernel.prctl(PR_SET_DUMPABLE, 0)
    poll = select.epoll()
    wakeup = watch_signals(poll)
    forwarder = Forwarder(poll, config["relays"])
    supervisor = Supervisor(config, poll, wakeup)
    supervisor.run(start(config, kernel), forwarder)


if __name__ == "__main__":
    try:
        main()
    except BaseException as exc:  # noqa: BLE001 - PID 1 may not die without a word
        fail("init failed: " + repr(exc))
