"""The runner's small parts, each for itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oqto_runner import cgroup, config, procfs
from oqto_runner.activity import Activity
from oqto_runner.census import MARK, Census
from oqto_runner.daemon import Daemon, Options
from oqto_runner.deliveries import REMEMBERED, Deliveries
from oqto_runner.lines import LineSplitter
from oqto_runner.process import describe_exit
from oqto_runner.store import SessionFolder

from oqto_platform import clock, hookimpl
from oqto_platform.canon import AgentIdle, GetState, Prompt, QueueChanged
from oqto_platform.errors import ConfigError, Invalid, PluginLoadError
from oqto_platform.settings import Section
from oqto_platform.types import Outcome, Session


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b""))), st.lists(st.integers(1, 7)))
def test_lines_are_the_same_however_they_are_cut(lines, sizes):
    data = b"".join(line + b"\n" for line in lines) + b"rest"
    splitter = LineSplitter(lambda: None)
    found = []
    for size in [*sizes, len(data)]:
        found += splitter.feed(data[:size])
        data = data[size:]
    assert found == [line for line in lines if line]
    assert splitter.rest() == b"rest"


def test_a_line_over_the_limit_is_dropped_and_told_once():
    told = []
    splitter = LineSplitter(lambda: told.append(1), limit=10)
    assert splitter.feed(b"short\n" + b"x" * 11) == [b"short"]
    assert splitter.feed(b"x" * 50) == []
    assert splitter.feed(b"x\nnext\n") == [b"next"]
    assert told == [1]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (-9, "killed by signal 9 (SIGKILL): perhaps out of memory"),
        (-15, "killed by signal 15 (SIGTERM)"),
        (137, "exited with code 137, which stands for signal 9 (SIGKILL): perhaps out of memory"),
        (255, "exited with code 255"),
    ],
)
def test_exits_in_words(code, words):
    assert describe_exit(code) == words


@pytest.fixture
def turn_clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def test_the_idle_clock(turn_clock):
    activity = Activity()
    turn_clock(10)
    assert activity.idle_s(is_working=False) == 10
    activity.note_command(GetState())
    assert activity.idle_s(is_working=False) == 10
    activity.note_command(Prompt(message="hi"))
    turn_clock(5)
    assert activity.idle_s(is_working=True) == 0
    turn_clock(5)
    activity.note_event(AgentIdle())
    turn_clock(1)
    assert activity.idle_s(is_working=False) == 1
    activity.note_event(QueueChanged(follow_up=("later",)))
    turn_clock(60)
    assert activity.idle_s(is_working=False) == 0
    activity.note_event(QueueChanged())
    turn_clock(2)
    assert activity.idle_s(is_working=False) == 2


async def test_a_delivery_is_shared_remembered_and_forgotten_in_order():
    calls = []
    gate = asyncio.Event()

    async def deliver():
        calls.append(1)
        await gate.wait()
        return "taken"

    deliveries = Deliveries(["old"])
    assert await deliveries.once("old", deliver) is None
    waiting = [asyncio.ensure_future(deliveries.once("new", deliver)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    gate.set()
    assert await waiting[1] == "taken"
    assert await waiting[2] == "taken"
    assert len(calls) == 1
    for n in range(REMEMBERED):
        await deliveries.once(f"c{n}", deliver)
    await deliveries.once("old", deliver)
    assert len(calls) == REMEMBERED + 2


async def test_a_failed_delivery_is_tried_again():
    async def fail():
        raise Invalid("not now")

    async def work():
        return 1

    deliveries = Deliveries([])
    with pytest.raises(Invalid):
        await deliveries.once("c", fail)
    assert await deliveries.once("c", work) == 1


@pytest.mark.parametrize("session_id", ["", "..", "a/b", "a" * 65, "-x", "a\n", "é"])
def test_an_id_cannot_leave_its_folder(tmp_path, session_id):
    with pytest.raises(Invalid, match="session_id"):
        SessionFolder(tmp_path, session_id)


def test_what_is_kept_is_private_whole_and_removable(tmp_path):
    folder = SessionFolder(tmp_path, "ses_1")
    folder.make()
    folder.keep(Session(id="ses_1", account_id="acc_1", workspace="/w"))
    folder.keep(Outcome(reason="idle"))
    assert folder.session().workspace == "/w"
    assert folder.outcome() == Outcome(reason="idle")
    assert {p.name: p.stat().st_mode & 0o777 for p in folder.path.iterdir()} == {
        "session.json": 0o600,
        "outcome.json": 0o600,
    }
    (folder.path / "session.json").write_text("{torn")
    assert folder.session() is None
    closed = folder.agent_home() / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0)
    folder.remove()
    assert not folder.path.exists()


def test_the_process_table_knows_this_process_and_its_name_does_not_matter():
    own = procfs.read(os.getpid())
    assert own.parent == os.getppid()
    assert procfs.read(2**22 + 1) is None
    odd = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import ctypes,time; ctypes.CDLL(None).prctl(15, b') S 1 (', 0,0,0); print(flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    try:
        odd.stdout.readline()
        assert procfs.read(odd.pid).parent == os.getpid()
        assert procfs.read(odd.pid) in Census.taken().below({os.getpid()})
    finally:
        odd.kill()
        odd.communicate()
    assert procfs.read(odd.pid) is None


def test_a_census_tells_whose_mark_a_child_carries_and_who_leads_it():
    children = [
        subprocess.Popen(["sleep", "60"], env={"OQTO_SESSION_ID": name}, start_new_session=True)
        for name in ("one", "two")
    ]
    try:
        census = Census.taken()
        for child, name in zip(children, (b"one", b"two"), strict=True):
            leader = procfs.read(child.pid)
            assert census.marked(MARK + name) == census.grouped(leader) == {child.pid}
            assert census.find(leader.key) == leader
            # The number of a process that is gone may be somebody else's.
            earlier = leader._replace(started=leader.started - 1)
            assert census.find(earlier.key) is None
            assert census.grouped(earlier) == set()
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_a_control_group_holds_and_ends_its_processes():
    group = cgroup.create("test-parts")
    if group is None:
        pytest.skip("no control group hierarchy is writable here")
    child = subprocess.Popen(["sleep", "60"])
    try:
        fd = os.open(group.path / "cgroup.procs", os.O_WRONLY)
        os.write(fd, str(child.pid).encode())
        os.close(fd)
        assert group.pids() == [child.pid]
        assert cgroup.Cgroup(cgroup.place("test-parts")).pids() == [child.pid]
        if not group.kill():
            child.kill()
        child.wait()
    finally:
        child.kill()
        child.wait()
        group.remove()
    assert group.pids() == []
    assert not group.path.exists()


def test_threads_that_look_for_a_hierarchy_at_once_find_the_same():
    if cgroup.writable_base() is None:
        pytest.skip("no control group hierarchy is writable here")
    look = cgroup.writable_base.__wrapped__
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: look(), range(400)))) == 1


class Painted(Section, frozen=True):
    colour: str = "red"


class Painter:
    def __init__(self, fail=""):
        self.fail = fail

    @hookimpl
    def register_config(self):
        return Painted

    @hookimpl
    def startup(self, context):
        if self.fail:
            raise RuntimeError(self.fail)
        self.context = context

    @hookimpl
    def register_harnesses(self):
        return []


def test_only_the_runners_sections_are_read(tmp_path, monkeypatch):
    file = tmp_path / "config.toml"
    file.write_text(
        '[runner]\nrunner_id = "mine"\n[painter]\ncolour = "blue"\n[something_of_the_core]\nx = 1\n'
    )
    settings = config.load(file, {**config.OWN, "painter": Painted})
    assert settings.section("painter", Painted).colour == "blue"
    monkeypatch.setenv("OQTO__PAINTER__COLOUR", "green")
    assert config.load(file, {"painter": Painted}).section("painter", Painted).colour == "green"
    file.write_text("[painter]\ncolor = 1\n")
    with pytest.raises(ConfigError, match=r"\[painter\].*color"):
        config.load(file, {"painter": Painted})


class Changing:
    """Notes what it is told about the configuration."""

    def __init__(self):
        self.told = []

    @hookimpl
    def register_config(self):
        return Painted

    @hookimpl
    def config_changed(self, old, new):
        self.told.append([settings.section("painter", Painted).colour for settings in (old, new)])


async def test_a_change_is_told_before_the_next_session_and_a_typo_changes_nothing(tmp_path):
    painter, file = Changing(), tmp_path / "config.toml"
    file.write_text('[painter]\ncolour = "blue"\n')
    daemon = Daemon(options(tmp_path, plugins={"painter": painter}, only=("painter",), config=file))
    answers, context = daemon._answers(), daemon._context("painter")
    for text in ('[painter]\ncolour = "green"\n', "[painter\n", '[painter]\ncolour = "grey"\n'):
        file.write_text(text)
        await answers._refresh()
    assert painter.told == [["blue", "green"], ["green", "grey"]]
    assert context.settings().colour == "grey"


async def test_a_typo_is_told_in_the_health_report(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("")
    daemon = Daemon(options(tmp_path, plugins={"painter": Changing()}, only=("painter",), config=file))
    answers = daemon._answers()
    file.write_text('[painter]\ncolor = "green"\n')
    await answers._refresh()
    check = (await answers._checks())["runner"][-1]
    assert (check.name, check.ok) == ("config", False)
    assert check.detail == f"{file}: [painter] unknown key 'color', did you mean 'colour'?"


def test_a_runner_starts_with_what_was_right_last(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[auth]\njwt_secret = "CANARY"\n[painter]\ncolour = "blue"\n')
    painted = {"plugins": {"painter": Changing()}, "only": ("painter",), "config": file}
    Daemon(options(tmp_path, **painted))
    kept = tmp_path / "state" / "config.last-good.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert b"CANARY" not in kept.read_bytes()
    file.write_text("[painter\n")
    assert Daemon(options(tmp_path, **painted))._context("painter").settings().colour == "blue"


def options(tmp_path, **more):
    return Options(socket=tmp_path / "s", state_dir=tmp_path / "state", **more)


def test_a_runner_takes_its_name_from_its_settings(tmp_path, monkeypatch):
    monkeypatch.delenv("OQTO_RUNNER_ID", raising=False)
    file = tmp_path / "config.toml"
    file.write_text('[runner]\nrunner_id = "mine"\n')
    quiet = {"plugins": {"painter": Painter()}, "only": ("painter",), "config": file}
    assert Daemon(options(tmp_path, **quiet))._runner_id == "mine"
    assert Daemon(options(tmp_path, runner_id="flag", **quiet))._runner_id == "flag"


def test_a_plugin_gets_its_own_private_context(tmp_path):
    painter = Painter()
    daemon = Daemon(options(tmp_path, plugins={"painter": painter}, only=("painter",)))
    context = daemon._context("painter")
    assert (context.name, context.db, context.leads()) == ("painter", None, True)
    assert context.settings() == Painted()
    assert context.data_dir != context.state_dir
    assert context.data_dir.stat().st_mode & 0o777 == 0o700
    context.audit("painted", colour="red")
    audit = tmp_path / "state" / "audit.jsonl"
    assert audit.stat().st_mode & 0o777 == 0o600
    assert '"plugin":"painter","event":"painted","colour":"red"' in audit.read_text()


def test_the_builtin_part_cannot_be_disabled(tmp_path):
    with pytest.raises(PluginLoadError, match="cannot be disabled"):
        Daemon(options(tmp_path, disabled=("builtin",)))


def test_two_harnesses_of_one_name_are_refused(tmp_path):
    class Second:
        @hookimpl
        def register_harnesses(self):
            from oqto_runner.harness.echo import Echo

            return [Echo()]

    with pytest.raises(
        PluginLoadError, match="'second': its harness 'echo' has the name of one of the plugin 'builtin'"
    ):
        Daemon(options(tmp_path, plugins={"second": Second()}, only=("second",)))


def test_a_plugin_that_cannot_start_stops_the_runner_by_name(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import importlib.util as u;"
        "spec = u.spec_from_file_location('parts', sys.argv[2]); parts = u.module_from_spec(spec); spec.loader.exec_module(parts);"
        "from oqto_runner import __main__ as m, daemon; load = daemon._load_plugins; import dataclasses;"
        "daemon._load_plugins = lambda o: load(dataclasses.replace(o, plugins={'painter': parts.Painter('out of paint')}, only=('painter',)));"
        "sys.exit(m.main(sys.argv[3:]))"
    )
    here = Path(__file__)
    arguments = ["--socket", str(tmp_path / "s"), "--state-dir", str(tmp_path / "state")]
    run = subprocess.run(
        [sys.executable, "-c", script, str(here.parent), str(here), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "plugin 'painter' failed in startup: RuntimeError: out of paint" in run.stderr
    assert not (tmp_path / "s").exists()
