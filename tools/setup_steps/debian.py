"""Debian packages: what is not there is installed when we may, else the one command is printed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from setup_steps import shell

#: package → the program that shows it is there
PROGRAMS = {"bubblewrap": "bwrap", "chromium": "chromium"}

#: package → a file of it. What only tests need, for which in CI none may be skipped; the files lie where every
#: account can read them, which a Rust in somebody's home does not
FOR_TESTS = {
    "make": "/usr/bin/make",
    "gcc": "/usr/bin/cc",
    "libc6-dev": "/usr/include/asm-generic/unistd.h",
    "cargo": "/usr/bin/cargo",
}


def missing() -> list[str]:
    absent = [package for package, program in PROGRAMS.items() if not shutil.which(program)]
    if os.environ.get("CI") == "true":
        absent += [package for package, file in FOR_TESTS.items() if not Path(file).exists()]
    return absent


def stale() -> str:
    absent = missing()
    return f"{' and '.join(absent)} missing" if absent else ""


def install() -> str:
    """Install what is missing. Oqto starts without these, so a failure is told and the set-up goes on."""
    absent = missing()
    if not may_install():
        return f"{' and '.join(absent)} not found. This installs them: {command(absent)}. Going on without"
    try:
        apt_install(absent)
    except shell.StepFailed as failure:
        return f"{failure}\nGoing on without"
    return f"installed {' and '.join(absent)}"


def may_install() -> bool:
    """True on a Debian where we are root or sudo asks nothing."""
    if not shutil.which("apt-get"):
        return False
    return os.geteuid() == 0 or bool(shell.ask(["sudo", "-n", "id", "-u"]))


def apt_install(packages: list[str]) -> None:
    """Install packages without questions; raise StepFailed with the command to try by hand."""
    repair = f"try it by hand: {command(packages)}"
    shell.run([*as_root(), "apt-get", "-q", "update"], repair=repair, timeout_s=300)
    quiet = ["-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"]
    shell.run([*as_root(), "apt-get", "install", *quiet, *packages], repair=repair, timeout_s=900)


def as_root() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo", "-n", "DEBIAN_FRONTEND=noninteractive"]


def command(packages: list[str]) -> str:
    """The command a person runs."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    if shutil.which("apt-get"):
        return f"{sudo}apt-get install --no-install-recommends {' '.join(packages)}"
    return f"install {' and '.join(packages)} with this system's package installer"
