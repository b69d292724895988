"""What the benches share: one line per claim, the tools on the path, and what /proc says about processes."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, Self

ROOT = Path(__file__).resolve().parents[1]
TOOLS = (Path(sys.executable).parent, ROOT / ".tools/node/bin", ROOT / ".tools/pi/node_modules/.bin")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CPUS = os.cpu_count() or 1


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


SPIN = """
import os, sys
parent, cpu = map(int, sys.argv[1:])
os.sched_setaffinity(0, {cpu})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() == parent:
    for _ in range(10_000): pass
"""


def parser(description: str | None) -> argparse.ArgumentParser:
    """For a bench that measures under `calm` conditions."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--ordinary", action="store_true", help="ordinary processes on processors that sleep")
    return made


@contextmanager
def awake() -> Iterator[None]:
    """
    No processor sleeps meanwhile: on each a loop takes the time that nobody else wants (`SCHED_IDLE`).

    On a virtual machine each sleep hands the processor back to the host, and how long it takes to get it again is the
    host's affair: up to milliseconds, booked as steal, and as processor time of whoever went to sleep.
    """
    spinners = [
        subprocess.Popen([sys.executable, "-SEc", SPIN, str(os.getpid()), str(cpu)])
        for cpu in sorted(os.sched_getaffinity(0))
    ]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


@contextmanager
def calm(*, is_ordinary: bool = False) -> Iterator[None]:
    """
    Keep out what is no software of ours, where the system allows it: real-time processes on processors that stay `awake`.

    Whoever is measured has the same priority (`SCHED_RR`), so among themselves all stays as it is. Ordinary ones would
    suffer from the wakefulness: to Linux such a processor is a busy one, and it leaves server and runner on the other.
    """
    try:
        if not is_ordinary:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        is_ordinary = True
    fact("processes", "ordinary" if is_ordinary else "real-time, processors kept awake")
    with nullcontext() if is_ordinary else awake():
        yield


class Host:
    """
    What the host of a virtual machine took of its processors ("steal") for others, while the context is open.

    Where the kernel tells none, it took nothing.
    """

    STEP_S = 0.1
    """The kernel counts in ticks of 10 ms: finer steps would tell nothing more."""

    def __init__(self) -> None:
        self._samples: list[_Sample] = []
        self._is_over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._samples.append(_sample())
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._sampler.join()

    def took(self, since: int, until: int) -> float:
        """Its share from 0 to 1 between two monotonic times in ns, as far as samples reach, in whole steps around them."""
        begin, end = self._around(since, until)
        return (end.stolen_s - begin.stolen_s) / max((end.at - begin.at) / 1e9 * CPUS, 1e-9)

    def told(self) -> str:
        """Its share of the whole time, in words."""
        return f"{self.took(0, time.monotonic_ns()):.1%}"

    def worked_s(self) -> float:
        """Processor time of all programs of this machine."""
        return self._samples[-1].worked_s - self._samples[0].worked_s

    def _around(self, since: int, until: int) -> tuple[_Sample, _Sample]:
        first = max(bisect_right(self._samples, since, key=_at) - 1, 0)
        last = min(bisect_left(self._samples, until, key=_at), len(self._samples) - 1)
        return self._samples[first], self._samples[last]

    def _sample(self) -> None:
        while not self._is_over.wait(self.STEP_S):
            self._samples.append(_sample())


class _Sample(NamedTuple):
    at: int
    """Monotonic, in ns."""
    worked_s: float
    stolen_s: float


_at = attrgetter("at")


def _sample() -> _Sample:
    user, nice, system, _, _, irq, soft_irq, stolen, *_ = map(
        int, Path("/proc/stat").read_text().split(maxsplit=11)[1:11]
    )
    return _Sample(
        time.monotonic_ns(), (user + nice + system + irq + soft_irq) / TICKS_PER_S, stolen / TICKS_PER_S
    )


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
