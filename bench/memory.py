"""What an idle server weighs, and what `oqtoctl --help` costs. `python bench/memory.py [--runs 15]`

The server is the real one of personal mode with its default plugins, started on folders that were used before,
signed in once and then left alone.
RSS counts a shared page for each of its processes, PSS shares it out.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from _figures import calm, claim, command_line, fact, family, memory_mb, middle, parser, put_tools_on_path

from oqto_platform.peers import listener_pid
from oqto_platform.testing.stack import Stack

CORE_MB, RUNNER_MB, HELP_MS = 70, 30, 150
SETTLE_S = 12.0  # past the first rounds of every job


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--runs", type=int, default=15)
    options = asked.parse_args()
    put_tools_on_path()
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.set_up()
        time.sleep(SETTLE_S / 4)
        fact("core after its very first start, which makes the tables", both(workers(stack)))
        stack.stop()
        stack.start()
        stack.sign_in()
        stack.client.get("/api/sessions").raise_for_status()
        time.sleep(SETTLE_S)
        weigh(stack)
    with calm(is_ordinary=options.ordinary):
        help_cost(options.runs)


def weigh(stack: Stack) -> None:
    core = workers(stack)
    claim("core, idle, worker RSS", *max(memory_mb(pid) for pid in core)[:1], CORE_MB, "MB", both(core))
    runner = listener_pid(str(next(p for p in stack.sockets() if "runner" in p.name)))
    assert runner is not None
    claim("runner, idle, RSS", memory_mb(runner)[0], RUNNER_MB, "MB", both([runner]))
    others = [p for p in stack.sockets() if "eavs" in str(p)]
    for pid in {pid for path in others if (pid := listener_pid(str(path)))}:
        fact(f"beside them, {command_line(pid)[:60]}", both(family(pid)))


def workers(stack: Stack) -> list[int]:
    """Granian itself and the worker that answers."""
    assert stack.process is not None
    below = family(stack.process.pid)
    return [pid for pid in below if "resource_tracker" not in command_line(pid)]


def both(pids: list[int]) -> str:
    sizes = [memory_mb(pid) for pid in pids]
    parts = " + ".join(f"{rss:.1f}" for rss, _ in sizes)
    return f"RSS {parts} MB, PSS together {sum(pss for _, pss in sizes):.1f} MB"


def help_cost(runs: int) -> None:
    walls, cpus, bare = [], [], []
    for _ in range(runs):
        wall, cpu = spent(["oqtoctl", "--help"])
        walls.append(wall)
        cpus.append(cpu)
        bare.append(spent(["python", "-c", "pass"])[0])
    note = f"CPU {middle(cpus):.0f} ms; `python -c pass` {middle(bare):.0f} ms wall"
    claim("oqtoctl --help", middle(walls), HELP_MS, "ms", note)


def spent(argv: list[str]) -> tuple[float, float]:
    """Wall and CPU time in ms of one run to its end."""
    begun = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return wall_s * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3


if __name__ == "__main__":
    main()
