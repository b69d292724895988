"""Landlock, applied to the agent by the agent's own process."""

from __future__ import annotations

import posix
import sys

from oqto_plugin_sandbox.init.kernel import Kernel

LANDLOCK_CREATE, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT = 444, 445, 446


def restrict_files(kernel: Kernel, handled: bytes, allowed: list[tuple[str, int]]) -> None:
    """Landlock: writes only where `allowed` says; `handled` is `struct landlock_ruleset_attr`."""
    ruleset = kernel.syscall(LANDLOCK_CREATE, handled, len(handled), 0)
    for path, rights in allowed:
        folder = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
        rule = rights.to_bytes(8, sys.byteorder) + folder.to_bytes(4, sys.byteorder)
        kernel.syscall(LANDLOCK_ADD_RULE, ruleset, 1, rule, 0)
        posix.close(folder)
    kernel.syscall(LANDLOCK_RESTRICT, ruleset, 0)
    posix.close(ruleset)
