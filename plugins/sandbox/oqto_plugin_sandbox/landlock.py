"""
The optional second layer: Landlock rules that the init process applies to the agent alone.

Landlock cannot deny below something that is allowed, so it never replaces a mount. It holds where mounts
do not reach: renames out of the sandbox's own mounts, abstract sockets and signals of other domains.
Bits and sizes: linux/landlock.h.
"""

# ruff: noqa: PTH116 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import os
import stat

from oqto_platform.errors import Unconfined
from oqto_plugin_sandbox import host
from oqto_plugin_sandbox.plan.model import Bind, Plan, Seal, Tmpfs
from oqto_plugin_sandbox.policy.model import Policy

WRITE_FILE, REMOVE_DIR, REFER, TRUNCATE, IOCTL_DEV = 1 << 1, 1 << 4, 1 << 13, 1 << 14, 1 << 15
MAKE_AND_REMOVE = sum(1 << bit for bit in range(4, 13))
ON_FILES = WRITE_FILE | TRUNCATE | IOCTL_DEV
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1, 2
SCOPED_SINCE, NETWORK_SINCE = 6, 4
ALWAYS_WRITABLE = ("/dev", "/proc")


def scopes(policy: Policy) -> bool:
    """Whether abstract sockets of the host stay out of reach although the network is shared."""
    return policy.landlock_mode != "off" and host.landlock_version() >= SCOPED_SINCE


def statements(policy: Policy, plan: Plan) -> list[tuple[object, ...]]:
    """
    What the init process applies, in the words of its configuration: the ruleset (`struct landlock_ruleset_attr`:
    its size, files, scopes), and each writable path with its rights. Raises `Unconfined`.
    """
    version = host.landlock_version()
    if policy.landlock_mode == "enforce" and not version:
        raise Unconfined(
            'landlock_mode = "enforce", but this kernel has no Landlock; set it to "audit" or "off"'
        )
    rights = _rights(version) if policy.landlock_mode == "enforce" else 0
    scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if scopes(policy) else 0
    if not rights and not scoped:
        return []
    size = 24 if version >= SCOPED_SINCE else 16 if version >= NETWORK_SINCE else 8
    allowed = _allowed(plan, rights) if rights else []
    return [("landlock", size, rights, scoped), *(("allow", right, path) for path, right in allowed)]


def _rights(version: int) -> int:
    rights = WRITE_FILE | MAKE_AND_REMOVE
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        rights |= right if version >= since else 0
    return rights


def _allowed(plan: Plan, rights: int) -> list[tuple[str, int]]:
    sealed = {op.dest for op in plan.ops if isinstance(op, Seal)} - {"/dev"}
    found = dict.fromkeys(ALWAYS_WRITABLE, rights)
    for op in plan.ops:
        if isinstance(op, Tmpfs) and op.dest not in sealed:
            found[op.dest] = rights
        elif isinstance(op, Bind) and op.writable:
            found[op.dest] = rights if stat.S_ISDIR(os.stat(op.source).st_mode) else rights & ON_FILES
    return sorted(found.items())
