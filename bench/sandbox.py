"""How much a sandbox costs: start against bare `/bin/true`, hand-written bubblewrap and `srt`; planning; system calls.

`least` is what bubblewrap takes with the namespaces and next to no mounts, `python` an interpreter that does nothing:
below the first no sandbox can come, and the second says why the first process inside is none.

    .venv/bin/python bench/sandbox.py [--runs 40]

As root it measures twice: as an ordinary account with a home that is the same everywhere, and as root with root's
own home. An agent of root needs more masks. `by bwrap` is the same plan where the kernel is too old for us to mount.

Runs are interleaved so that a busy machine hurts all cases alike; trust the ratios. `srt` takes part when it is
on the PATH and works (`npm install -g @anthropic-ai/sandbox-runtime`, with socat and ripgrep).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from oqto_plugin_sandbox import host, launch, mounting
from oqto_plugin_sandbox.plan.model import Bind
from oqto_plugin_sandbox.plan.render import Descriptors, options
from oqto_plugin_sandbox.policy.load import load
from oqto_plugin_sandbox.runner import owner

from oqto_platform import slim
from oqto_platform.types import SpawnPlan


class Cost(NamedTuple):
    """Of one start. CPU time hardly depends on what else the machine does."""

    wall_s: float
    cpu_s: float


PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
FLAGS = (
    "--unshare-user", "--unshare-ipc", "--unshare-uts", "--unshare-pid", "--unshare-cgroup-try", "--disable-userns",
    "--cap-drop", "ALL", "--clearenv", "--die-with-parent", "--as-pid-1",
)  # fmt: skip
"""Without the last the CPU time of what runs inside is nobody's: no parent waits for it."""
CALLS_EACH = 500
SYSTEM_CALLS = f"""
import os, sys, time
f, pipe = os.open('/dev/zero', 0), os.pipe()
def spent(work):
    t = time.process_time()
    for _ in range({CALLS_EACH}): work()
    return time.process_time() - t
while sys.stdin.readline():
    print(
        spent(lambda: os.read(f, 1)), spent(lambda: os.write(pipe[1], b'.') + len(os.read(pipe[0], 1))),
        spent(lambda: os.stat('/usr')), spent(lambda: os.close(os.open('/usr', os.O_RDONLY))), spent(os.getppid),
        flush=True,
    )
"""
CALLS = ("read", "write and read of a pipe", "stat", "open and close", "getppid")
"""The last does next to nothing in the kernel and shows the most of what comes before a call."""

PAIRS, TURNS = 6, 60
COLD_RUNS = 7
HOME_FOLDERS = (
    ".ssh", ".cache/pip", ".cargo/registry", ".cargo/bin", ".config/git", ".config/htop", ".config/gh", ".local/bin",
    ".local/share/uv", ".npm", ".rustup", "documents", "projects/one", "projects/two",
)  # fmt: skip
HOME_FILES = (".bashrc", ".profile", ".gitconfig", ".npmrc", ".cargo/env", ".bash_history")
PEER_SETTINGS = {
    "network": {"allowedDomains": [], "deniedDomains": []},
    "filesystem": {"denyRead": ["~/.ssh"], "allowWrite": ["."], "denyWrite": []},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    runs = parser.parse_args().runs
    if os.getuid() == 0:
        as_ordinary(lambda: measure("an ordinary account", runs))
    measure("root" if os.getuid() == 0 else "this account", runs)


def as_ordinary(work: Callable[[], None]) -> None:
    """Run `work` in a fork that has given root up and has a home with what people have in theirs."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
    import ordinary_account

    with tempfile.TemporaryDirectory(prefix="oqto-bench-", dir="/home") as folder:
        home = Path(folder) / "home"
        furnish(home, ordinary_account.UID)
        Path(folder).chmod(0o755)
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return
        try:
            ordinary_account.become_ordinary(home)
            work()
        finally:
            sys.stdout.flush()
            os._exit(0)


def furnish(home: Path, uid: int) -> None:
    for name in HOME_FOLDERS:
        (home / name).mkdir(parents=True)
    for name in HOME_FILES:
        (home / name).write_text("text\n")
    for path in (home, *home.rglob("*")):
        os.chown(path, uid, uid)


def measure(who: str, runs: int) -> None:
    print(f"-- {who}")
    with tempfile.TemporaryDirectory() as workspace:
        cases = {
            "bare": bare,
            "least": least,
            "by hand": lambda: by_hand(workspace),
            "by bwrap": lambda: by_bubblewrap(workspace),
            "confined": lambda: confined(workspace),
            "python": lambda: spent([PYTHON, "-I", "-S", "-c", "pass"], ()),
        }
        confined(workspace)  # makes the folders that the plan expects, warms the caches
        cases |= peer(workspace)
        times = interleaved(cases, runs)
        report(times, workspace)
        planning(workspace, runs)
        steady(workspace)


who_runs = functools.cache(owner)
"""Asked once, as by a runner: the account database answers slowly."""


def cage(workspace: str, *argv: str, writable: tuple[str, ...] = ()) -> launch.Cage:
    spawn, who = SpawnPlan(argv=argv or ("/bin/true",), cwd=workspace, writable=writable), who_runs()
    return launch.design(load(who, workspace), workspace, spawn, who.home, who.uid)


def bare() -> Cost:
    return spent(["/bin/true"], ())


def least() -> Cost:
    """bubblewrap with the namespaces, and only what a program cannot do without: no mount of it can be saved."""
    links = [word for name in ("bin", "lib", "lib64") for word in ("--symlink", f"usr/{name}", f"/{name}")]
    mounts = [
        "--ro-bind",
        "/usr",
        "/usr",
        *links,
        "--ro-bind",
        "/etc",
        "/etc",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]
    return spent([host.bubblewrap().path, *FLAGS, *mounts, "--tmpfs", "/tmp", "--", "/bin/true"], ())


def by_hand(workspace: str) -> Cost:
    """The same mounts and namespaces, without init process, filter and self-check; planning is not counted."""
    designed = cage(workspace)
    with Descriptors() as owned:
        words = options(designed.plan, owned)
        took = spent([host.bubblewrap().path, *FLAGS, *words, "--", "/bin/true"], tuple(owned.fds))
        owned.close()
    return took


def confined(workspace: str) -> Cost:
    ready = launch.launch(cage(workspace))
    try:
        return spent(list(ready.argv), ready.fds)
    finally:
        for fd in ready.fds:
            os.close(fd)


def by_bubblewrap(workspace: str) -> Cost:
    """The whole sandbox, with every mount made by bubblewrap as on a kernel before Linux 5.12."""
    found = mounting.obstacle
    mounting.obstacle = lambda: "measured for comparison"
    try:
        return confined(workspace)
    finally:
        mounting.obstacle = found


def peer(workspace: str) -> dict[str, Callable[[], Cost]]:
    """The runtime of another project, if it is here; in a folder of its own, where it may make its mount points."""
    program = shutil.which("srt")
    if program is None:
        print("srt is not on the PATH and takes no part")
        return {}
    folder = Path(workspace) / "peer"
    folder.mkdir()
    settings = folder / "settings.json"
    settings.write_text(json.dumps(PEER_SETTINGS))
    argv = [program, "-s", str(settings), "-c", "true"]
    tried = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if tried.returncode:
        print(f"srt does not work here and takes no part: {tried.stderr.strip()}")
        return {}
    return {"srt": lambda: spent(argv, (), cwd=str(folder), env=dict(os.environ))}


def spent(argv: list[str], fds: tuple[int, ...], cwd: str = "/", env: dict[str, str] | None = None) -> Cost:
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, env=env or {}, cwd=cwd, pass_fds=fds, stdin=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - started, cpu_s)


def interleaved(cases: dict[str, Callable[[], Cost]], runs: int) -> dict[str, list[Cost]]:
    times: dict[str, list[Cost]] = {name: [] for name in cases}
    for _ in range(runs):
        for name, case in cases.items():
            times[name].append(case())
    return times


def report(times: dict[str, list[Cost]], workspace: str) -> None:
    plan = cage(workspace).plan
    mounts = sum(isinstance(op, Bind) for op in plan.ops)
    print(f"{len(plan.ops)} steps in the plan, {mounts} of them binds")
    base, fastest = middle(times["bare"]), quickest(times["bare"])
    print(f"{'':9} {'median wall, CPU, ratios':38} least wall, CPU, ratios")
    for name, found in times.items():
        print(f"{name:9} {shown(middle(found), base):38} {shown(quickest(found), fastest)}")
    hand, ours = middle(times["by hand"]), middle(times["confined"])
    print(f"confined / by hand: {ours.wall_s / hand.wall_s:.2f} wall, {ours.cpu_s / hand.cpu_s:.2f} CPU")
    if reason := mounting.obstacle():
        print(f"the first process cannot mount here: {reason}")


def shown(cost: Cost, base: Cost) -> str:
    ratios = f"{cost.wall_s / base.wall_s:.1f}x, {cost.cpu_s / base.cpu_s:.1f}x"
    return f"{cost.wall_s * 1e3:6.2f} ms, {cost.cpu_s * 1e3:6.2f} ms, {ratios}"


def quickest(costs: list[Cost]) -> Cost:
    """On a busy machine the least of many runs is nearest to what the work itself takes."""
    return Cost(min(c.wall_s for c in costs), min(c.cpu_s for c in costs))


def middle(costs: list[Cost]) -> Cost:
    return Cost(statistics.median(c.wall_s for c in costs), statistics.median(c.cpu_s for c in costs))


def planning(workspace: str, runs: int) -> None:
    """
    What one plan takes: the policy files read, the deny lists looked up, the mounts computed and checked.

    Warm is a process that has planned the same before and only looks whether that still holds. The others plan anew:
    because something on disk changed, because a new session has a folder of its own, because the process is new.
    """
    changing, own = Path(workspace) / ".envrc", Path(workspace) / "own"
    own.mkdir()
    slim.settle()  # without old garbage, as in a runner
    timed("plan computation, warm", lambda: cage(workspace), runs)
    timed("one file changed", lambda: cage(workspace), runs, lambda: toggle(changing))
    fresh = iter(private_folders(own, max(runs, 20)))
    timed("a new session", lambda: cage(workspace, writable=(next(fresh),)), runs)
    first = [json.loads(output([sys.executable, __file__, "--first", workspace])) for _ in range(COLD_RUNS)]
    told("the first of a process", first)


def private_folders(below: Path, count: int) -> list[str]:
    folders = [below / str(number) for number in range(count)]
    for folder in folders:
        folder.mkdir()
    return [str(folder) for folder in folders]


def toggle(file: Path) -> None:
    """A protected name of the workspace comes or goes."""
    if file.exists():
        file.unlink()
    else:
        file.touch()


def timed(
    what: str, work: Callable[[], object], runs: int, before: Callable[[], object] = lambda: None
) -> None:
    took = []
    for _ in range(max(runs, 20)):
        before()
        took.append(once(work))
    told(what, took)


def once(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and CPU time in seconds; the second does not depend on neighbours."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def told(what: str, took: list[tuple[float, float]]) -> None:
    walls, cpus = zip(*took, strict=True)
    wall_ms, cpu_ms = statistics.median(walls) * 1e3, statistics.median(cpus) * 1e3
    print(f"{what:22} median {wall_ms:.2f} ms wall, {cpu_ms:.2f} ms CPU, least {min(cpus) * 1e3:.2f} ms CPU")


def steady(workspace: str) -> None:
    """
    CPU time of a mix of system calls, bare and in the sandbox; the median of the ratios of all turns.

    Pairs of processes on one processor answer by turns of a few milliseconds, so that its speed is the same for both.
    """
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(ours)})
    try:
        turns = [turn for _ in range(PAIRS) for turn in pair(workspace)]
    finally:
        os.sched_setaffinity(0, ours)
    ratios = [[inside / outside for outside, inside in zip(*turn, strict=True)] for turn in turns]
    each = [statistics.median(found) for found in zip(*ratios, strict=True)]
    whole = [sum(inside) / sum(outside) for outside, inside in turns]
    low, middle_one, high = statistics.quantiles(whole, n=4)
    names = ", ".join(f"{name} {ratio:.3f}" for name, ratio in zip(CALLS, each, strict=True))
    print(f"steady state, CPU time against bare, {len(turns)} turns of {CALLS_EACH} calls of each kind:")
    print(f"  all together {middle_one:.3f} (half of the turns {low:.3f} to {high:.3f}); {names}")


def pair(workspace: str) -> list[tuple[list[float], list[float]]]:
    """The turns of one pair: what each kind of call took outside, and inside."""
    argv = [PYTHON, "-u", "-c", SYSTEM_CALLS]
    ready = launch.launch(cage(workspace, *argv))
    try:
        with answering(argv) as outside, answering(list(ready.argv), ready.fds) as inside:
            turns = [(answer(outside), answer(inside)) for _ in range(TURNS + 1)]
    finally:
        for fd in ready.fds:
            os.close(fd)
    return turns[1:]  # the first warms up


@contextlib.contextmanager
def answering(argv: list[str], fds: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """A process that measures once for each line; it ends with its input."""
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, env={}, pass_fds=fds, stdin=pipe, stdout=pipe, text=True) as process:
        yield process


def answer(process: subprocess.Popen[str]) -> list[float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("once more\n")
    process.stdin.flush()
    return [float(word) for word in process.stdout.readline().split()]


def output(argv: list[str]) -> str:
    return subprocess.run(argv, env={}, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    if sys.argv[1:2] == ["--first"]:
        who_runs()
        print(json.dumps(once(lambda: cage(sys.argv[2]))))
    else:
        main()
