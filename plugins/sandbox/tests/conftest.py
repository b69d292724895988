"""
A home full of canaries, a workspace, and real sandboxes over them: as root and as an ordinary account.

A test that asks for `account`, itself or through `box` or `own_home`, runs once as each.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import ordinary_account
import pytest
from oqto_plugin_sandbox import host, launch
from oqto_plugin_sandbox.policy.document import Place, parse
from oqto_plugin_sandbox.policy.load import checked
from oqto_plugin_sandbox.policy.merge import Layer, merge
from oqto_plugin_sandbox.policy.schema import to_policy

from oqto_platform.errors import Unconfined
from oqto_platform.types import ConfinedPlan, SpawnPlan

ACCOUNTS = ("ordinary", "root")

CANARIES = {
    ".ssh/id_rsa": "CANARY-ssh",
    ".aws/credentials": "CANARY-aws",
    ".netrc": "CANARY-netrc",
    ".config/gcloud/creds.json": "CANARY-gcloud",
    ".config/oqto/env": "CANARY-oqto-env",
    ".config/oqto/sandbox.toml": "enabled = true\n",
    ".gnupg/key": "CANARY-gnupg",
}
HARMLESS = {
    ".config/app/settings": "harmless",
    ".bashrc": "# start file\n",
    ".local/bin/tool": "#!/bin/sh\necho tool\n",
    ".cargo/registry/index": "index",
    "documents/letter": "letter",
}


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


class Box:
    """Starts sandboxes over one home and one workspace."""

    def __init__(self, root: Path, uid: int) -> None:
        self.root, self.uid = root, uid
        self.home, self.workspace = root / "home", root / "home/projects/ws"

    @property
    def who(self) -> dict:
        """What starts a process as the box's account."""
        return {} if os.getuid() == self.uid else {"user": self.uid, "group": self.uid, "extra_groups": []}

    def write(self, path: Path, text: str = "", mode: int = 0o644) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        self.own()
        return path

    def own(self) -> None:
        for folder, names, files in os.walk(self.root):
            for name in [".", *names, *files]:
                os.chown(f"{folder}/{name}", self.uid, self.uid, follow_symlinks=False)

    def policy(self, text: str = "", workspace: str = ""):
        place = Place(file="system", role="base", home=str(self.home))
        ours = Place(file="workspace", role="workspace", home=str(self.home), workspace=str(self.workspace))
        layers = [Layer(file="workspace", statements=parse(workspace, ours))]
        return checked(
            to_policy(merge([Layer(file="system", statements=parse(text, place))], layers, str(self.home)))
        )

    def cage(self, *argv: str, policy: str = "", restrict: str = "", **plan):
        plan = {"cwd": str(self.workspace), **plan}
        spawn = SpawnPlan(argv=argv or ("/bin/true",), **plan)
        return launch.design(
            self.policy(policy, restrict), str(self.workspace), spawn, str(self.home), self.uid
        )

    def confined(self, *argv: str, cage=None, **options) -> ConfinedPlan:
        confined = launch.launch(cage or self.cage(*argv, **options))
        self.own()
        return confined

    def start(self, *argv: str, stdin=subprocess.DEVNULL, **options) -> subprocess.Popen[bytes]:
        return self.spawn(self.confined(*argv, **options), stdin)

    def spawn(self, confined: ConfinedPlan, stdin=subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                confined.argv, env=dict(confined.env), cwd=confined.cwd, pass_fds=confined.fds, stdin=stdin,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **self.who,
            )  # fmt: skip
        finally:
            for fd in confined.fds:
                os.close(fd)

    def sh(self, script: str, *, timeout: float = 60, **options) -> Done:
        return self.run("/bin/bash", "-c", script, timeout=timeout, **options)

    def said(self, script: str, **options) -> str:
        """What a script says, or why it was not started."""
        try:
            return self.sh(script, **options).all
        except Unconfined as exc:
            return str(exc)

    def python(self, script: str, *words: str, **options) -> Done:
        return self.run("/usr/bin/python3", "-c", script, *words, **options)

    def run(self, *argv: str, timeout: float = 60, **options) -> Done:
        return self.finish(self.start(*argv, **options), timeout)

    def finish(self, process: subprocess.Popen[bytes], timeout: float = 60) -> Done:
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return Done(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))

    def repository(self, files) -> None:
        """Make the workspace a git repository with these files committed, on the host."""
        for name, text in files.items():
            self.write(self.workspace / name, text)
        self.host(
            "git init -q . && git config user.email a@b && git config user.name a && git add -A && git commit -qm init"
        )

    def host(self, script: str, cwd=None) -> Done:
        """Run a shell script outside, as the same account."""
        self.own()
        done = subprocess.run(
            ["/bin/bash", "-ec", script], cwd=cwd or self.workspace, capture_output=True, text=True, check=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.root)}, **self.who,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def tree(self) -> set[str]:
        """Everything below the root except repositories."""
        return {
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if ".git" not in str(path.parent)
        }


@pytest.fixture(scope="session")
def can_confine() -> None:
    try:
        host.probe()
    except Unconfined as exc:
        pytest.skip(str(exc))


def _box(uid: int, base: str | None = None):
    root = Path(tempfile.mkdtemp(prefix="oqto-sandbox-test-", dir=base))
    root.chmod(0o755)
    try:
        box = Box(root, uid)
        for name, text in {**CANARIES, **HARMLESS}.items():
            box.write(box.home / name, text)
        (box.home / ".local/bin/tool").chmod(0o755)
        box.write(box.workspace / "file", "content")
        yield box
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    wanted = getattr(item, "callspec", None) and item.callspec.params.get("account")
    if wanted != "ordinary" or os.getuid() != 0:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in ordinary_account.run(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    item.session._setupstate.teardown_exact(nextitem)
    return True


@pytest.fixture(params=ACCOUNTS)
def account(request) -> str:
    """Who runs this test: root, and an account without any rights; without root only whoever runs it."""
    if request.param == "root" and os.getuid() != 0:
        pytest.skip("only root can try what an agent of root could do")
    return request.param


@pytest.fixture
def tmp_path(tmp_path_factory):
    """pytest's own folder is closed to every account but the one that started it."""
    if os.getuid() != ordinary_account.UID:
        yield tmp_path_factory.mktemp("test")
        return
    with tempfile.TemporaryDirectory(prefix="oqto-sandbox-test-") as folder:
        yield Path(folder)


@pytest.fixture
def own_home(account, can_confine, tmp_path) -> Path:
    """A folder for a home and what belongs to it, of the account that runs the test."""
    return tmp_path


@pytest.fixture
def box(account, can_confine):
    """Every attack is tried by an agent of an ordinary account and by an agent of root."""
    yield from _box(os.getuid())


@pytest.fixture
def box_outside_tmp(account, can_confine):
    """Landlock allows everything below the private /tmp, so its own strength shows elsewhere."""
    yield from _box(os.getuid(), str(Path.home()) if os.getuid() else "/var/lib")


@pytest.fixture(params=ACCOUNTS)
def beside_root(request) -> int:
    """For what root does outside meanwhile: root runs the test, and this is whose agent it is about."""
    if os.getuid() != 0:
        pytest.skip("only root can do outside what this tries")
    return 0 if request.param == "root" else ordinary_account.UID


@pytest.fixture
def box_beside_root(beside_root, can_confine):
    yield from _box(beside_root)


@pytest.fixture
def command_line():
    """The command line of a process of the host; empty when it is gone."""

    def look(pid) -> str:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return ""

    return look


@pytest.fixture
def running(command_line):
    """Whether a process of the host other than this one has the marker in its command line."""

    def look(marker) -> bool:
        pids = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return any(marker in command_line(pid) for pid in pids if int(pid) != os.getpid())

    return look
