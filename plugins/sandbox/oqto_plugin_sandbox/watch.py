"""
What may change outside while a sandbox runs, and that a person should hear of.

A sandbox keeps the policy and the plan of its start. A mask over something in a folder that the agent writes
cannot be composed, so it is gone when the host replaces what is under it: editors save files that way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from oqto_plugin_sandbox.plan.model import Hide, Plan, Tmpfs
from oqto_plugin_sandbox.policy.load import Owner, stamps

Stamps = Mapping[str, tuple[int, ...]]


class Change(NamedTuple):
    """`event` for the audit log, `sentence` for people."""

    event: str
    path: str
    sentence: str


class Watch:
    """For one sandbox. `policy` are the stamps of the policy files from before they were read."""

    def __init__(self, owner: Owner, workspace: str, policy: Stamps, plan: Plan) -> None:
        self._owner = owner
        self._workspace = workspace
        self._policy = policy
        self._masked = _masked(plan)

    def changes(self) -> Iterator[Change]:
        """What changed since the start, or since it was told."""
        now = stamps(self._owner, self._workspace)
        for file in sorted(file for file, stamp in now.items() if stamp != self._policy[file]):
            told = f"{file} has changed. This session goes on as it was started; stop and resume it to apply that."
            yield Change("policy changed", file, told)
        self._policy = now
        for path in sorted(path for path, inode in self._masked.items() if _inode(path) not in (inode, None)):
            del self._masked[path]
            told = f"{path} is denied, but it was replaced outside while this session runs, and its mask went with the "
            yield Change(
                "mask lost", path, told + "old one: the agent can read it. Stop and resume the session."
            )


def _masked(plan: Plan) -> dict[str, tuple[int, int]]:
    masks = (
        op.dest for op in plan.ops if isinstance(op, Hide) or (isinstance(op, Tmpfs) and not op.mode & 0o444)
    )
    return {path: inode for path in masks if (inode := _inode(path)) is not None}


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
