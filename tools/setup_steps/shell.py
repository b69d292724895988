"""Running other programs: output into a log, and a failure that says what to do."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from setup_steps import place

LOG = place.TOOLS / "setup.log"
SHOWN_LINES = 12


class StepFailed(Exception):
    """A step cannot be done; the text says what failed and what to do about it."""


def run(
    argv: Sequence[str | Path],
    *,
    repair: str,
    timeout_s: float = 1200,
    cwd: Path = place.ROOT,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a program with its output in `.tools/setup.log`; raise StepFailed with its last lines and `repair`."""
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("a+b") as log:
        log.write(f"\n$ {shown(argv)}\n".encode())
        log.flush()
        start = log.tell()
        problem = _wait(argv, log, timeout_s, cwd, env)
        if not problem:
            return
        log.seek(start)
        lines = log.read().decode(errors="replace").splitlines()
    raise StepFailed("\n".join([f"{shown(argv)}: {problem}", *excerpt(lines), f"→ {repair}"]))


def _wait(
    argv: Sequence[str | Path], log: IO[bytes], timeout_s: float, cwd: Path, env: Mapping[str, str] | None
) -> str:
    try:
        done = subprocess.run(
            list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            cwd=cwd, env=dict(env or place.environment()), timeout=timeout_s, check=False,
        )  # fmt: skip
    except OSError as error:
        return str(error)
    except subprocess.TimeoutExpired:
        return f"gave no result within {timeout_s:.0f} s"
    return f"exit status {done.returncode}" if done.returncode else ""


def ask(argv: Sequence[str | Path], timeout_s: float = 30) -> str:
    """Return what a program prints, or an empty string when it cannot be run or fails."""
    try:
        done = subprocess.run(
            list(map(str, argv)), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env=place.environment(), timeout=timeout_s, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def excerpt(lines: list[str]) -> list[str]:
    """Both ends of a long output: npm says what is wrong first, pip and vite say it last."""
    if len(lines) <= 2 * SHOWN_LINES:
        return lines
    return [*lines[:SHOWN_LINES], "…", *lines[-SHOWN_LINES:]]


def shown(argv: Sequence[str | Path]) -> str:
    """The command as a person would type it, paths of the checkout shortened."""
    return shlex.join(map(str, argv)).replace(f"{place.ROOT}/", "")
