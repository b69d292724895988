"""Words for people, files, and two functions of the C library without the ctypes package."""

from __future__ import annotations

import posix

# Annotations are never evaluated, so the module `typing` is not needed while this runs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

CANNOT_CONFINE = 125


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
        self._malloc = Function(_ctypes.dlsym(library, "malloc"))
        self._memcpy = Function(_ctypes.dlsym(library, "memcpy"))

    def prctl(self, option: int, *arguments: int) -> None:
        values = [self._long(value) for value in (option, *arguments, 0, 0, 0, 0)[:5]]
        if self._value(self._prctl(*values)) < 0:
            raise OSError(self._errno(), "prctl " + str(option))

    def place(self, content: bytes) -> int:
        """The address of a copy of `content` that lasts as long as the process."""
        address = self._value(self._malloc(self._long(len(content))))
        if not address:
            raise MemoryError
        self._memcpy(self._long(address), content, self._long(len(content)))
        return address

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
