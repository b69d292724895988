"""What this machine offers for confinement, and for each thing that is missing the command that repairs it."""

# ruff: noqa: PTH116 - paths are compared and passed on as text, exactly as the kernel sees them

from __future__ import annotations

import os
import re
import stat
import subprocess
from functools import cache
from pathlib import Path

import msgspec

from oqto_platform.errors import Unconfined
from oqto_plugin_sandbox.seccomp import tables

PLACES = ("/usr/bin", "/bin", "/usr/local/bin", "/run/current-system/sw/bin")
OLDEST = (0, 8, 0)
FIXED = (0, 12, 0)
"""The first version without CVE-2026-87766 (a planted symlink redirects a mount during setup)."""
PROBE_TIMEOUT_S = 10.0
EMPTY_SANDBOX = (
    "--unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-net "
    "--disable-userns --cap-drop ALL --ro-bind / / --proc /proc -- /bin/true"
)


class Bubblewrap(msgspec.Struct, frozen=True, kw_only=True):
    """The sandbox program. `binds_by_fd`: it has `--bind-fd`, so nothing can be swapped before the mount."""

    path: str
    version: tuple[int, ...]
    binds_by_fd: bool

    @property
    def is_fixed(self) -> bool:
        return self.version >= FIXED


def install_command(package: str = "bubblewrap") -> str:
    """The command that installs a package on this distribution."""
    for program, command in (
        ("apt-get", "apt-get install -y"),
        ("dnf", "dnf install -y"),
        ("pacman", "pacman -S"),
        ("apk", "apk add"),
        ("zypper", "zypper install"),
    ):
        if find(program):
            return f"{'' if os.geteuid() == 0 else 'sudo '}{command} {package}"
    return f"install {package}"


def find(program: str) -> str:
    """The absolute path of a system program; never through PATH, which the user's own folders may lead."""
    return next((f"{place}/{program}" for place in PLACES if os.access(f"{place}/{program}", os.X_OK)), "")


@cache
def bubblewrap() -> Bubblewrap:
    """The installed bubblewrap, checked. Raises `Unconfined` with the repair."""
    path = find("bwrap")
    if not path:
        raise Unconfined(
            f"bubblewrap is not installed, and no agent runs without a sandbox. Repair: {install_command()}"
        )
    path = os.path.realpath(path)
    _check_owner(path)
    version = _version(_output(path, "--version"))
    if version < OLDEST:
        raise Unconfined(
            f"bubblewrap {_dotted(version)} is older than {_dotted(OLDEST)}. Repair: {install_command()}"
        )
    return Bubblewrap(path=path, version=version, binds_by_fd="--ro-bind-fd" in _output(path, "--help"))


@cache
def probe() -> None:
    """Start an empty sandbox once, with every namespace. Raises `Unconfined` with the repair."""
    if tables.native() is None:
        raise Unconfined(
            f"there is no system-call filter for {os.uname().machine}; x86_64 and aarch64 have one"
        )
    done = _run([bubblewrap().path, *EMPTY_SANDBOX.split()])
    if done.returncode:
        raise Unconfined(
            f"bubblewrap cannot make a sandbox: {done.stderr.strip()}. Repair: {namespace_repair()}"
        )


def namespace_repair() -> str:
    """What turns unprivileged user namespaces on, on this kernel."""
    switches = (
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or install an AppArmor profile for bwrap)",
        ),
    )
    for file, bad, command in switches:
        if _first_line(file) == bad:
            return command
    return "allow unprivileged user namespaces; in a container, run it with --security-opt seccomp=unconfined"


@cache
def landlock_version() -> int:
    """The Landlock interface of the kernel; 0 where there is none."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(444, None, ctypes.c_size_t(0), 1)))


def forget() -> None:
    """Look again: the administrator may have repaired something."""
    for known in (bubblewrap, probe, landlock_version):
        known.cache_clear()


def _check_owner(path: str) -> None:
    if not _is_roots(path):
        raise Unconfined(
            f"{path} can be changed by somebody else than root. Repair: chown root {path}; chmod 755 {path}"
        )


def _is_roots(path: str) -> bool:
    status = os.stat(path)
    return status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _version(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _output(*argv: str) -> str:
    return _run(list(argv)).stdout


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, env={}, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        return subprocess.CompletedProcess(argv, 1, "", f"{argv[0]}: {exc}")


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
