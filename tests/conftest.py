"""What holds for every test: nothing is left running, and in CI nothing is skipped without a stated cause."""

from __future__ import annotations

import fnmatch
import os
import signal
import subprocess
import time
import tomllib
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
MARK = "OQTO_TEST_PROCESS"
GRACE_S = float(os.environ.get("OQTO_TEST_GRACE_S", "5"))
IN_CI = os.environ.get("CI") == "true"


def pytest_configure(config: pytest.Config) -> None:
    # Registered by hand, because a fixture of a conftest.py reaches only the tests below its folder.
    config.pluginmanager.register(Leftovers(), "oqto-leftovers")
    if IN_CI and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Strictness(config), "oqto-strictness")


@pytest.fixture(scope="session")
def examples_path(tmp_path_factory: pytest.TempPathFactory):
    """Make plugins of `examples/` and others importable: a `PYTHONPATH` with what an installer would have written."""

    def path_of(*names: str, others: tuple[Path, ...] = ()) -> str:
        site = tmp_path_factory.mktemp("site")
        projects = [*(ROOT / "examples" / f"oqto-plugin-{name}" for name in names), *others]
        for project in projects:
            write_metadata(project, site)
        return os.pathsep.join(map(str, [site, *projects]))

    return path_of


def write_metadata(project: Path, site: Path) -> None:
    facts = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = site / f"{facts['name'].replace('-', '_')}-{facts['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {facts['name']}\nVersion: {facts['version']}\n"
    )
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())])
        for group, entries in facts["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))


class Leftovers:
    """Fails a test file that leaves a process behind, names the process and ends it.

    Daemons detach from whoever started them, so parentage says nothing: a process is ours when it inherited
    our mark or when its command line, environment or working folder lies in our temporary folder.
    """

    def __init__(self) -> None:
        self.mark = f"{MARK}={uuid.uuid4().hex}"
        os.environ[MARK] = self.mark.partition("=")[2]
        self.temporary = ""
        self.file: Path | None = None
        self.at_start: set[int] = set()
        self.before: set[int] = set()
        #: started by a fixture of the whole session, which ends them
        self.shared: set[int] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        """Let a fixture of the whole session keep the processes it starts until the end."""
        if fixturedef.scope not in {"session", "package"}:
            return (yield)
        before = self.running()
        try:
            return (yield)
        finally:
            self.shared |= self.running() - before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item):
        if item.path != self.file:
            self.temporary = str(item.config._tmp_path_factory.getbasetemp())
            self.before = self.running()
            self.at_start = self.before if self.file is None else self.at_start
            self.file = item.path
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None):
        result = yield
        if nextitem is None or nextitem.path != item.path:
            self.check(self.before)
        if nextitem is None:
            self.shared.clear()
            self.check(self.at_start)
        return result

    def check(self, before: set[int]) -> None:
        left = self.wait_for_end(before)
        if left:
            told = "\n".join(f"  {pid}: {command_line(pid)}" for pid in sorted(left))
            end(left)
            pytest.fail(f"these processes were left running:\n{told}", pytrace=False)

    def wait_for_end(self, before: set[int]) -> set[int]:
        deadline = time.monotonic() + GRACE_S
        while left := self.strangers(before):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return left

    def strangers(self, before: set[int]) -> set[int]:
        return {pid for pid in self.running() - before if not self.belongs_to_session(pid)}

    def belongs_to_session(self, pid: int) -> bool:
        while pid > 1:
            if pid in self.shared:
                return True
            pid = parent(pid)
        return False

    def running(self) -> set[int]:
        """Our processes, this one not among them."""
        pids = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
        return {pid for pid in pids - {os.getpid()} if self.is_ours(pid)}

    def is_ours(self, pid: int) -> bool:
        process = Path(f"/proc/{pid}")
        try:
            command = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes()
            folder = str((process / "cwd").readlink())
        except OSError:
            return False  # gone, or somebody else's
        if not command:
            return False  # a zombie: it has ended
        traces = (command + environment).decode(errors="replace") + folder
        return self.mark in traces or (bool(self.temporary) and self.temporary in traces)


class Strictness:
    """In CI: a skip that `allowed_skips.txt` does not name fails the run, and so does a file left in the checkout."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.before = untracked()
        self.complaints: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.complaints = [
            *self.unexplained_skips(),
            *(f"left in the checkout: {p}" for p in untracked() - self.before),
        ]
        if self.complaints and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter) -> None:
        if self.complaints:
            terminalreporter.section("not accepted in CI", red=True)
            terminalreporter.write_line("\n".join(self.complaints))

    def unexplained_skips(self) -> list[str]:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        patterns = allowed_skips(ALLOWED_SKIPS.read_text())
        return [
            f"skipped: {report.nodeid}: {reason(report)}"
            for report in reporter.stats.get("skipped", [])
            if not any(fnmatch.fnmatchcase(report.nodeid, pattern) for pattern in patterns)
        ]


def allowed_skips(text: str) -> list[str]:
    """Read lines of `node id  # reason`; `*` stands for anything, a bracket for itself."""
    patterns = []
    for number, line in enumerate(text.splitlines(), 1):
        node, _, why = line.partition("  # ")
        if line.startswith("#") or not line.strip():
            continue
        if not why.strip():
            raise pytest.UsageError(f"{ALLOWED_SKIPS.name}:{number}: write '{node.strip()}  # the reason'")
        patterns.append(node.strip().replace("[", "[[]"))
    return patterns


def reason(report: pytest.TestReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def untracked() -> set[str]:
    listing = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    return {line[3:] for line in listing.splitlines()}


def parent(pid: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:300]
    return "?"


def end(pids: set[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
