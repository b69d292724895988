"""The agent's side of the fork: everything that only the agent may not do, then its program."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix
import resource
import sys

from oqto_plugin_sandbox.init.kernel import Kernel, fail

# Annotations are never evaluated, so the module `typing` is not needed while this runs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CANNOT_EXECUTE = 126
NOT_FOUND = 127
ENOENT = 2
SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGCHLD = 1, 2, 13, 15, 17
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2


def limit(number: int, value: int) -> None:
    """Lower an rlimit, soft and hard; never above what is allowed already."""
    _, held = resource.getrlimit(number)
    wanted = value if held == resource.RLIM_INFINITY else min(value, held)
    resource.setrlimit(number, (wanted, wanted))


def filter_calls(kernel: Kernel, program: bytes) -> None:
    """Stack a seccomp filter: `struct sock_fprog` is a count and, aligned, a pointer."""
    header = (len(program) // 8).to_bytes(2, sys.byteorder) + bytes(6)
    header += kernel.place(program).to_bytes(8, sys.byteorder)
    kernel.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, kernel.place(header))


def become_agent(config: dict[str, Any], kernel: Kernel) -> None:
    """In the child: everything that only the agent may not do, then its program."""
    posix.setsid()
    for number in (SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGPIPE):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    for number, value in config["rlimits"]:
        limit(number, value)
    kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)
    if config["landlock"]:
        from oqto_plugin_sandbox.init.landlock import restrict_files

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
