"""
What the interpreter inside is started with: takes the other modules from a descriptor and runs `main`.

The descriptor, named in the first argument, holds a marshalled dictionary. Its `modules` are pairs of a
name and its code or source, in an order in which each imports only earlier ones.
"""

import marshal
import posix
import sys

CANNOT_CONFINE = 125


def read_all(fd: int) -> bytes:
    parts = []
    while part := posix.read(fd, 1 << 20):
        parts.append(part)
    posix.close(fd)
    return b"".join(parts)


def boot() -> None:
    config = marshal.loads(read_all(int(sys.argv[1])))  # noqa: S302 - written by the launcher, sealed
    make = type(sys)
    future = sys.modules["__future__"] = make("__future__")
    future.annotations = None  # type: ignore[attr-defined] # the compiler has seen it; its file need not be read
    for name, code in config.pop("modules"):
        module = sys.modules[name] = make(name)
        exec(code, module.__dict__)  # noqa: S102 - our own modules
    sys.modules["oqto_plugin_sandbox.init.main"].main(config)


if __name__ == "__main__":
    try:
        boot()
    except BaseException as exc:  # noqa: BLE001 - PID 1 may not die without a word
        posix.write(2, ("oqto-sandbox: init failed: " + repr(exc) + "\n").encode(errors="replace"))
        posix._exit(CANNOT_CONFINE)  # noqa: SLF001 - its public name is in os, which is not imported here
