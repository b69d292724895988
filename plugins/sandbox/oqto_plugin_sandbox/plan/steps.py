"""Write a plan in the words of the first process inside, which then makes the mounts: `init/source/root.c`."""

from __future__ import annotations

from oqto_plugin_sandbox.plan.model import Bind, Copy, Data, Folder, Hide, Kernel, Link, Op, Plan, Seal, Tmpfs
from oqto_plugin_sandbox.plan.render import MIB, Descriptors, file_of, source_of

DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
"""What `dev` shows, each read-only: the agent of root owns the host's and could change their modes."""


def devices_mounted() -> list[tuple[object, ...]]:
    """For the self-check. bubblewrap cannot show a device read-only, so this holds where we make the mounts."""
    return [("mount", "ro", f"/dev/{name}") for name in DEVICES]


def steps(plan: Plan, owned: Descriptors) -> list[tuple[object, ...]]:
    """One statement for each step, in the order of the plan. Raises `Unconfined`."""
    return [_step(op, owned) for op in plan.ops]


def _step(op: Op, owned: Descriptors) -> tuple[object, ...]:  # noqa: C901, PLR0911 - one answer per kind
    match op:
        case Bind(is_checked=False):
            return ("system", op.source, op.dest)
        case Bind():
            return ("bind", "rw" if op.writable else "ro", source_of(op, owned), op.source, op.dest)
        case Tmpfs():
            return ("tmpfs", f"{op.mode:04o}", op.size_mb * MIB, op.dest)
        case Folder():
            return ("folder", op.dest)
        case Copy():
            return ("copy", file_of(op, owned), op.mode, op.dest)
        case Hide():
            return ("hide", "folder" if op.is_folder else "file", op.dest)
        case Link():
            return ("link", op.target, op.dest)
        case Data():
            return ("data", owned.memory("oqto-file", op.content), op.dest)
        case Kernel():
            return (op.kind, op.dest)
        case Seal():
            return ("seal", op.dest)
