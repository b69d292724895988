"""The doctor: one line per thing that confinement needs, each with the command that repairs it."""

from __future__ import annotations

from collections.abc import Callable

from oqto_platform.errors import OqtoError
from oqto_platform.types import Check
from oqto_plugin_sandbox import host, limits, mounting
from oqto_plugin_sandbox.policy.load import Owner, load
from oqto_plugin_sandbox.seccomp import tables


def all_checks(owner: Owner, workspace: str) -> list[Check]:
    """Every check, whatever the others say."""
    host.forget()
    mounting.obstacle.cache_clear()
    return [
        _bubblewrap(),
        _namespaces(),
        _filter(),
        _landlock(),
        _groups(),
        _policy(owner, workspace),
    ]


def _bubblewrap() -> Check:
    def look() -> str:
        found = host.bubblewrap()
        version = ".".join(map(str, found.version))
        known = "" if found.is_fixed else "; CVE-2026-87766 is not fixed in it, and the mount plan avoids it"
        return f"{found.path} {version}{known}"

    check = _tried("bubblewrap", look, host.install_command())
    is_old = check.ok and "CVE" in check.detail
    return Check(
        name=check.name, ok=check.ok, detail=check.detail, repair=_newer() if is_old else check.repair
    )


def _newer() -> str:
    return f"install bubblewrap 0.12 or later when your distribution has it: {host.install_command()}"


def _namespaces() -> Check:
    def look() -> str:
        host.probe()
        obstacle = mounting.obstacle()
        slower = f"; bubblewrap makes the mounts, which takes longer ({obstacle})" if obstacle else ""
        return f"an empty sandbox starts{slower}"

    return _tried("user namespaces", look, host.namespace_repair())


def _filter() -> Check:
    arch = tables.native()
    detail = f"built in for {arch.name}" if arch else "no table for this machine"
    return Check(
        name="system-call filter",
        ok=arch is not None,
        detail=detail,
        repair="" if arch else "use x86_64 or aarch64",
    )


def _landlock() -> Check:
    version = host.landlock_version()
    detail = f"version {version}" if version else "not in this kernel; the other layers hold without it"
    return Check(name="Landlock (optional)", ok=True, detail=detail)


def _groups() -> Check:
    found = limits.available()
    missing = [name for name, is_there in found.items() if not is_there]
    if not missing:
        return Check(name="limits", ok=True, detail="control groups for memory and processes")
    repair = "run the runner under systemd with Delegate=yes"
    return Check(
        name="limits", ok=True, detail=f"partial: no control group for {' and '.join(missing)}", repair=repair
    )


def _policy(owner: Owner, workspace: str) -> Check:
    def look() -> str:
        policy = load(owner, workspace)
        files = ", ".join(layer.split("@")[0] for layer in policy.layers) or "no file, built-in defaults"
        return (
            f"profile {policy.profile}, network {policy.network.mode} ({files})"
            if policy.enabled
            else f"sandbox off ({files})"
        )

    return _tried("policy", look, "correct the file and key that are named")


def _tried(name: str, look: Callable[[], str], repair: str) -> Check:
    try:
        return Check(name=name, ok=True, detail=look())
    except OqtoError as exc:
        return Check(name=name, ok=False, detail=exc.detail, repair=repair)
