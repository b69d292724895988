"""Write a plan in bubblewrap's options. Descriptors are collected in a `Descriptors`, which owns them."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from oqto_platform.errors import Unconfined
from oqto_plugin_sandbox.plan.composed import is_small
from oqto_plugin_sandbox.plan.model import Bind, Copy, Data, Folder, Hide, Kernel, Link, Op, Plan, Seal, Tmpfs
from oqto_plugin_sandbox.plan.opening import open_plain

MIB = 1 << 20
MFD_EXEC = 0x10
"""linux/memfd.h: since Linux 6.3, and needed where the administrator made memory files not executable by default."""
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Vanished(Unconfined):
    """Something that the plan shows is not there any more: plan again."""


class Descriptors:
    """Open descriptors for the launcher; closes all of them when planning fails."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if kind is not None:
            self.close()

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.pop())

    def adopt(self, fd: int) -> int:
        """Take over `fd` and let it pass to the launcher."""
        self.fds.append(fd)
        os.set_inheritable(fd, True)
        return fd

    def memory(self, name: str, content: bytes, *, is_program: bool = False) -> int:
        """A descriptor with `content`, at its beginning, that nobody can change any more."""
        fd = self.adopt(_memory(name, MFD_EXEC if is_program else 0))
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(content)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd


def _memory(name: str, flags: int) -> int:
    try:
        return os.memfd_create(name, os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC | flags)
    except OSError as exc:
        if exc.errno != errno.EINVAL or not flags:
            raise
        return _memory(name, 0)  # an older kernel


def options(plan: Plan, owned: Descriptors, *, by_fd: bool = True) -> list[str]:
    """The options for every mount. `by_fd`: this bubblewrap has `--bind-fd`. Raises `Unconfined`."""
    return [word for op in plan.ops for word in _option(op, owned, by_fd=by_fd)]


def expected_mounts(plan: Plan) -> list[tuple[str, str]]:
    """Mount points with the access on top, for the self-check of the init process."""
    found: dict[str, str] = {}
    for op in plan.ops:
        match op:
            case Bind(dest=dest, writable=writable):
                found[dest] = "rw" if writable else "ro"
            case Tmpfs(dest=dest) | Kernel(dest=dest):
                found[dest] = "rw"
            case Hide(dest=dest) | Seal(dest=dest) | Data(dest=dest):
                found[dest] = "ro"
    return sorted(found.items())


def _option(op: Op, owned: Descriptors, *, by_fd: bool) -> Iterable[str]:  # noqa: C901, PLR0911 - one answer per kind
    match op:
        case Bind():
            return _bind(op, owned, by_fd=by_fd)
        case Tmpfs(dest=dest, size_mb=size_mb, mode=mode):
            size = ["--size", str(size_mb * MIB)] if size_mb else []
            return ["--perms", f"{mode:04o}", *size, "--tmpfs", dest]
        case Folder(dest=dest):
            return ["--perms", "0755", "--dir", dest]
        case Copy():
            return _copy(op, owned)
        case Hide(dest=dest, is_folder=True):
            return ["--perms", "0000", "--tmpfs", dest, "--remount-ro", dest]
        case Hide(dest=dest):
            return ["--ro-bind", "/dev/null", dest]
        case Link(dest=dest, target=target):
            return ["--symlink", target, dest]
        case Data(dest=dest, content=content):
            return ["--perms", "0644", "--ro-bind-data", str(owned.memory("oqto-file", content)), dest]
        case Kernel(dest=dest, kind=kind):
            return [f"--{kind}", dest]
        case Seal(dest=dest):
            return ["--remount-ro", dest]


def _copy(op: Copy, owned: Descriptors) -> list[str]:
    return ["--perms", f"{op.mode:04o}", "--file", str(file_of(op, owned)), op.dest]


def file_of(op: Copy, owned: Descriptors) -> int:
    """A descriptor to read from, opened without waiting, because a pipe may have replaced it. Raises `Vanished`."""
    try:
        fd = owned.adopt(open_plain(op.source, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as exc:
        raise Vanished(f"cannot copy {op.source} ({op.why}): {exc.strerror}") from exc
    status = os.fstat(fd)
    if not is_small(status):
        raise Vanished(f"cannot copy {op.source} ({op.why}): it is no small file any more")
    return fd


def _bind(op: Bind, owned: Descriptors, *, by_fd: bool) -> list[str]:
    option = "--bind" if op.writable else "--ro-bind"
    if not op.is_checked:
        return [option, op.source, op.dest]
    fd = source_of(op, owned)
    return [f"{option}-fd", str(fd), op.dest] if by_fd else [option, f"/proc/self/fd/{fd}", op.dest]


def source_of(op: Bind, owned: Descriptors) -> int:
    """A descriptor of what is bound, without a symlink on the way. Raises `Vanished` or `Unconfined`."""
    try:
        return owned.adopt(open_plain(op.source))
    except OSError as exc:
        kind = Vanished if exc.errno == errno.ENOENT else Unconfined
        raise kind(
            f"cannot bind {op.source} ({op.why}): {exc.strerror}; no part of this path may be a symbolic link"
        ) from exc
