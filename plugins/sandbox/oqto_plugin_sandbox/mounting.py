"""
Who makes the mounts: the first process inside, or bubblewrap where a kernel or a rule of the host keeps us from it.

bubblewrap makes the namespaces in any case. For the first process it shows the whole host and leaves it three
capabilities in the sandbox's own user namespace. They are gone before anything else runs: see `init/source/rights.c`.
"""

from __future__ import annotations

import subprocess
from functools import cache

from oqto_plugin_sandbox import first, host
from oqto_plugin_sandbox.plan.render import Descriptors
from oqto_plugin_sandbox.plan.steps import devices_mounted

CAPABILITIES = ("CAP_SYS_ADMIN", "CAP_SYS_RESOURCE", "CAP_SETFCAP")
"""To mount, to forbid further user namespaces, and to map the account into the last one (Linux 5.12)."""

FOR_US = (
    *("--uid", "0", "--gid", "0", "--bind", "/", "/"),
    *(word for name in CAPABILITIES for word in ("--cap-add", name)),
)
"""bubblewrap's options behind `--cap-drop ALL`."""

TRIAL = (
    ("trial",), ("account", 1, 1), ("cwd", "/"), ("system", "/usr", "/usr"), ("hide", "folder", "/usr/bin"),
    ("proc", "/proc"), ("dev", "/dev"), ("tmpfs", "0755", 0, "/a"), ("link", "a", "/b"), ("seal", "/"),
    *(("mount", *mounted) for mounted in (("ro", "/"), ("ro", "/usr"), ("ro", "/usr/bin"), ("rw", "/proc"), ("rw", "/dev"))),
    ("mount", "rw", "/a"), *devices_mounted(), ("status", "CapEff", "0" * 16), ("status", "CapBnd", "0" * 16),
)  # fmt: skip


@cache
def obstacle() -> str:
    """Why the first process cannot make the mounts here; empty when it can. Tried once, with a small sandbox."""
    words = [
        "--unshare-user",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--as-pid-1",
        "--cap-drop",
        "ALL",
    ]
    with Descriptors() as owned:
        init = f"/proc/self/fd/{owned.memory('oqto-init', first.program(), is_program=True)}"
        config = owned.memory("oqto-config", first.words(TRIAL))
        argv = [host.bubblewrap().path, *words, *FOR_US, "--", init, str(config), "trial"]
        try:
            return _tried(argv, owned)
        finally:
            owned.close()


def _tried(argv: list[str], owned: Descriptors) -> str:
    try:
        done = subprocess.run(
            argv, env={}, cwd="/", pass_fds=owned.fds, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=host.PROBE_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"{argv[0]}: {exc}"
    return done.stderr.strip() or "it ended without a word" if done.returncode else ""
