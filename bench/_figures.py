"""What the benches share: one line per claim, the tools on the path, and what /proc says about processes."""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = (Path(sys.executable).parent, ROOT / ".tools/node/bin", ROOT / ".tools/pi/node_modules/.bin")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def claim(
    name: str, figure: float, limit: float, unit: str, note: str = "", *, at_least: bool = False
) -> None:
    """Print one claim. Ratio: the figure to its limit; `at_least` claims hold from 1 on, others up to 1."""
    ratio = figure / limit if limit else float("inf")
    holds = ratio >= 1 if at_least else ratio <= 1
    bound = "at least" if at_least else "at most"
    tail = f"; {note}" if note else ""
    print(
        f"{name}: {figure:,.4g} {unit}, {bound} {limit:,.4g} {unit}, ratio {ratio:.2f}, "
        f"{'OK' if holds else 'OVER' if not at_least else 'UNDER'}{tail}",
        flush=True,
    )


def fact(name: str, text: str) -> None:
    """Print a figure that no claim is made about."""
    print(f"{name}: {text}", flush=True)


def middle(values: list[float]) -> float:
    return statistics.median(values)


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def put_tools_on_path() -> None:
    """As `make` does it: this environment's programs, Node and pi."""
    os.environ["PATH"] = os.pathsep.join([*map(str, TOOLS), os.environ["PATH"]])


def family(pid: int) -> list[int]:
    """`pid` and everything below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


def cpu_s(pid: int) -> float:
    """User and system time of one process so far; a tick is 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident and proportional set size: the second shares pages out among those who map them."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        key, value, *_ = line.split()
        found[key] = int(value) / 1024
    return found["Rss:"], found["Pss:"]


def skip(name: str, why: str) -> None:
    """Print that a claim was not measured."""
    print(f"{name}: SKIPPED, {why}", flush=True)
