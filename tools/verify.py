"""Run every check and every test, and close with one line: N passed, N failed, N skipped.

Nothing stops at the first failure. With arguments only pytest runs, with those arguments.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
FRONTEND = ROOT / "frontend"


@dataclass(frozen=True)
class Check:
    """A program that says by its exit status whether all is well; its output is shown when it is not."""

    name: str
    argv: Sequence[str | Path]
    cwd: Path = ROOT


@dataclass(frozen=True)
class Tally:
    """How many passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


CHECKS = [
    Check("ruff", [BIN / "ruff", "check", "."]),
    Check("ruff format", [BIN / "ruff", "format", "--check", "."]),
    Check("mypy", [BIN / "mypy"]),
    Check("import rules", [BIN / "lint-imports"]),
    Check("generated types", [BIN / "python", "tools/gen_types.py", "--check"]),
    Check("biome", ["npm", "run", "--silent", "lint"], FRONTEND),
    Check("tsc", ["npm", "run", "--silent", "types"], FRONTEND),
]


def run_check(check: Check) -> Tally:
    print(f"check: {check.name} … ", end="", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        list(map(str, check.argv)), cwd=check.cwd, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    print(f"{'FAILED' if done.returncode else 'ok'}, {time.monotonic() - began:.1f} s", flush=True)
    if done.returncode:
        print(done.stdout, flush=True)
        return Tally(failed=1)
    return Tally(passed=1)


def run_checks() -> Tally:
    return sum(map(run_check, CHECKS), Tally())


def run_tests(argv: Sequence[str | Path], report: Path, cwd: Path = ROOT) -> Tally:
    """Run a test program that writes a JUnit file; a failure it does not count there counts as one."""
    status = subprocess.run(list(map(str, argv)), cwd=cwd, stdin=subprocess.DEVNULL, check=False).returncode
    tally = read_junit(report)
    return tally + Tally(failed=1) if status and not tally.failed else tally


def read_junit(report: Path) -> Tally:
    if not report.is_file():
        return Tally()
    suites = list(ET.parse(report).iter("testsuite"))
    count = {
        name: sum(int(suite.get(name) or 0) for suite in suites)
        for name in ("tests", "failures", "errors", "skipped")
    }
    failed = count["failures"] + count["errors"]
    return Tally(max(count["tests"] - failed - count["skipped"], 0), failed, count["skipped"])


def run_frontend_tests(scratch: Path) -> Tally:
    report = scratch / "frontend.xml"
    reporters = ["--reporter=default", "--reporter=junit", f"--outputFile.junit={report}"]
    return run_tests(["npm", "run", "--silent", "test", "--", *reporters], report, FRONTEND)


def run_python_tests(scratch: Path, arguments: Sequence[str]) -> Tally:
    report = scratch / "python.xml"
    spread = [] if arguments else ["-n", "auto", "--dist", "worksteal"]
    return run_tests([BIN / "pytest", *spread, f"--junit-xml={report}", *arguments], report)


def verify(arguments: Sequence[str]) -> Tally:
    with tempfile.TemporaryDirectory(prefix="oqto-verify-") as folder:
        scratch = Path(folder)
        if arguments:
            return run_python_tests(scratch, arguments)
        return run_checks() + run_frontend_tests(scratch) + run_python_tests(scratch, [])


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/verify.py", description="Run every check and every test.")
    parser.add_argument("--checks-only", action="store_true", help="run no tests")
    options, arguments = parser.parse_known_args()
    tally = run_checks() if options.checks_only else verify(arguments)
    print(tally, flush=True)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
