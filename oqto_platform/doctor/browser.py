"""The Chromium that the browser of sessions would be: there, able to run, and able to confine what it shows."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

from oqto_platform.config.sections import AgentBrowser
from oqto_platform.types import Check

NAME = "browser"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
HELPERS = ("chrome-sandbox", "chrome_sandbox")
SLOW_S = 20.0
INSTALL = "sudo apt-get install chromium, or set [agent_browser] executable_path"
CONFINE = "sysctl -w kernel.unprivileged_userns_clone=1 (or kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu)"


def browser(settings: AgentBrowser) -> Check:
    """A failure only where sessions are to have a browser; else what would hold if they were."""
    problem, detail, repair = _looked_at(settings.executable_path)
    if not problem:
        return Check(name=NAME, ok=True, detail=detail)
    if settings.enabled:
        return Check(name=NAME, ok=False, detail=problem, repair=repair)
    return Check(
        name=NAME, ok=True, detail=f"{problem}; nothing needs it while [agent_browser] enabled = false"
    )


def _looked_at(configured: str) -> tuple[str, str, str]:
    """What is wrong (empty: nothing), what is right, and the repair."""
    program = _program(configured)
    if program is None:
        there = f"{configured} is no program" if configured else "no Chromium was found"
        return there, "", INSTALL
    version, reason = _version(program)
    if reason:
        return f"{program} does not run: {reason}", "", f"see what it says: {program} --version; or {INSTALL}"
    if not _has_helper(program) and (reason := _no_namespaces()):
        return f"{version} at {program} cannot use its sandbox: {reason}", "", CONFINE
    return "", f"{version} at {program}, its sandbox is possible", ""


def _program(configured: str) -> str | None:
    names = (configured,) if configured else PROGRAMS
    return next((found for name in names if (found := shutil.which(name))), None)


def _version(program: str) -> tuple[str, str]:
    """What it says of itself, or why it does not."""
    return _said([program, "--version"])


def _said(argv: list[str]) -> tuple[str, str]:
    """What a program writes, or why it failed."""
    try:
        run = subprocess.run(argv, capture_output=True, text=True, timeout=SLOW_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return "", str(exc)
    if run.returncode == 0:
        return run.stdout.strip(), ""
    words = run.stderr.strip().splitlines() or [f"exit {run.returncode}"]
    return "", words[-1]


def _has_helper(program: str) -> bool:
    """The older way to confine: a program of root's beside the browser."""
    folders = {Path(program).parent, Path(program).resolve().parent, Path("/usr/lib/chromium")}
    return any(_is_setuid(folder / name) for folder in folders for name in HELPERS)


def _is_setuid(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_uid == 0 and bool(status.st_mode & stat.S_ISUID)


def _no_namespaces() -> str:
    """Why this account cannot make a user namespace; empty when it can, or nobody can tell."""
    if (unshare := shutil.which("unshare")) is None or os.geteuid() == 0:
        return ""
    return _said([unshare, "--user", "--map-root-user", "true"])[1]
