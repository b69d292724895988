"""What an agent left behind that other programs obey without being asked: names that were not there before."""

from __future__ import annotations

import os
from typing import NamedTuple

from oqto_plugin_sandbox.plan.rules import GIT_CONFIG, PROTECTED_NAMES


class Before(NamedTuple):
    """The protected names that a workspace had when a sandbox started."""

    workspace: str
    names: frozenset[str]


def before(workspace: str) -> Before:
    return Before(workspace, _present(workspace))


def appeared(start: Before) -> list[str]:
    """Protected paths that exist now and did not at the start, each by the highest new name."""
    return [f"{start.workspace}/{name}" for name in sorted(_present(start.workspace) - start.names)]


def _present(workspace: str) -> frozenset[str]:
    """`.oqto` is always made by the launcher, and nobody but the person can change it."""
    names = (*PROTECTED_NAMES[1:], GIT_CONFIG)
    return frozenset(name for name in names if os.path.lexists(f"{workspace}/{name}"))
