"""Open a path so that no symlink can lead elsewhere, now or between the check and the mount."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct

_OPENAT2 = 437
_AT_FDCWD = -100
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def open_plain(path: str, flags: int = os.O_PATH) -> int:
    """
    A descriptor of `path`, which has no symlink in any component. Raises `OSError`.

    O_NOFOLLOW must stay away: together with O_PATH it accepts a symlink as the last component.
    """
    return _openat2(_AT_FDCWD, path, flags | os.O_CLOEXEC, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)


def open_beneath(folder: int, name: str, flags: int = os.O_RDONLY | os.O_NONBLOCK) -> int:
    """Open `name` relative to `folder`, without symlinks and without leaving it. Raises `OSError`."""
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    return _openat2(folder, name, flags | os.O_CLOEXEC, resolve)


def make_beneath(top: str, path: str, mode: int) -> None:
    """Make the directories from `top` (exclusive) to `path`, refusing symlinks. Raises `OSError`."""
    folder = open_plain(top)
    try:
        for name in path.removeprefix(top).strip("/").split("/"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=folder)
            below = open_beneath(folder, name, os.O_PATH | os.O_DIRECTORY)
            os.close(folder)
            folder = below
    finally:
        os.close(folder)


def _openat2(folder: int, path: str, flags: int, resolve: int) -> int:
    how = ctypes.create_string_buffer(struct.pack("QQQ", flags, 0, resolve), 24)
    while True:
        fd = int(_libc.syscall(_OPENAT2, folder, os.fsencode(path), how, ctypes.c_size_t(24)))
        if fd >= 0:
            return fd
        # EAGAIN: a rename raced with RESOLVE_BENEATH; the kernel asks to try again.
        if (number := ctypes.get_errno()) not in (errno.EAGAIN, errno.EINTR):
            raise OSError(number, os.strerror(number), path)
