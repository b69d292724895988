"""Daemons of the server: adopted, started, restarted, ended; and what is said when one does not come up."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import async_until

from oqto_platform import children as module
from oqto_platform.background import Leadership
from oqto_platform.children import Child, ChildFailed, Children, is_answering, start, stop
from oqto_platform.peers import listener_pid

LISTENS = """
import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1]); listener.listen(5)
while True:
    listener.accept()[0].close()
"""
NEVER = "import time; print('I sleep', flush=True); time.sleep(600)"
DIES = "import sys; print('no such table: calls', flush=True); sys.exit(3)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LISTENS


@pytest.fixture
def child(tmp_path):
    made = []

    def make(program):
        path = str(tmp_path / f"{len(made)}.sock")
        argv = (sys.executable, "-c", program, path)
        made.append(
            Child(name="eavs", argv=argv, socket=path, log_file=str(tmp_path / "log" / "eavs.log"), env={})
        )
        return made[-1]

    yield make
    for one in made:
        if pid := listener_pid(one.socket):
            os.kill(pid, signal.SIGKILL)


def gone(pid):
    return not module._is_alive(pid)


async def test_a_missing_daemon_is_started_and_a_running_one_adopted(child):
    one = child(LISTENS)
    children = Children(lambda: True)
    await children.supervise(one)
    pid = listener_pid(one.socket)
    assert pid
    assert os.getsid(pid) == pid
    assert stat.S_IMODE(Path(one.log_file).stat().st_mode) == 0o600
    await Children(lambda: True).supervise(one)
    assert listener_pid(one.socket) == pid
    await children.stop_all()
    assert gone(pid)


async def test_a_killed_daemon_comes_back(child, monkeypatch):
    monkeypatch.setattr(module, "BACKOFF_S", (0.01,))
    one = child(f"import os, sys\nif os.path.exists(sys.argv[1]): os.unlink(sys.argv[1])\n{LISTENS}")
    children = Children(lambda: True)
    await children.supervise(one)
    pid = listener_pid(one.socket)
    os.kill(pid, signal.SIGKILL)
    await async_until(lambda: listener_pid(one.socket) is None)
    await children.keep()
    assert listener_pid(one.socket) not in (None, pid)
    await children.stop_all()


async def test_a_worker_that_does_not_lead_waits_and_starts_nothing(child, monkeypatch):
    monkeypatch.setattr(module, "START_TIMEOUT_S", 0.2)
    one = child(LISTENS)
    with pytest.raises(ChildFailed, match=r"eavs did not listen on .* within 0.2 s"):
        await Children(lambda: False).supervise(one)
    assert not await is_answering(one.socket)


async def test_a_daemon_that_ends_at_once_is_told_with_its_last_words(child):
    with pytest.raises(ChildFailed, match=r"eavs ended at once \(exit 3\): no such table: calls"):
        await start(child(DIES))


async def test_a_program_that_is_not_there_is_named(child, tmp_path):
    one = Child(
        name="eavs", argv=("/no/such", "x"), socket=str(tmp_path / "s"), log_file=str(tmp_path / "l"), env={}
    )
    with pytest.raises(ChildFailed, match="eavs: cannot execute /no/such: No such file or directory"):
        await start(one)


async def test_a_daemon_that_never_listens_is_given_up_and_not_left_behind(child, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "START_TIMEOUT_S", 0.5)
    one = child(NEVER)
    with pytest.raises(
        ChildFailed, match=r"eavs did not listen on .* within 0.5 s: (I sleep|it said nothing)"
    ):
        await start(one)
    ours = subprocess.run(["pgrep", "-f", one.socket], capture_output=True, text=True, check=False).stdout
    assert ours == "", "it still runs, and the next try would start a second one"


async def test_one_that_does_not_listen_to_reason_is_killed(child, monkeypatch):
    monkeypatch.setattr(module, "STOP_TIMEOUT_S", 0.3)
    one = child(STUBBORN)
    await start(one)
    pid = listener_pid(one.socket)
    await stop(one)
    assert gone(pid)
    await stop(one)


async def test_we_never_stop_ourselves(tmp_path):
    path = str(tmp_path / "own.sock")
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    await stop(Child(name="own", argv=("x",), socket=path, log_file="/dev/null", env={}))
    server.close()


# ---- which worker leads

HOLDS = """
import sys
from pathlib import Path
from oqto_platform.background import Leadership

leadership = Leadership(Path(sys.argv[1]))
print(leadership.leads(), flush=True)
sys.stdin.readline()
print(leadership.release(), flush=True)
"""


def worker(folder):
    return subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def word(process):
    while (line := process.stdout.readline()) and line.strip() not in ("True", "False"):
        pass
    return line.strip() == "True"


def test_of_two_workers_one_leads_and_the_last_one_knows(tmp_path):
    first = worker(tmp_path)
    assert word(first) is True
    second = worker(tmp_path)
    assert word(second) is False
    first.stdin.write("\n")
    first.stdin.flush()
    assert word(first) is False, "another worker is left"
    second.stdin.write("\n")
    second.stdin.flush()
    assert word(second) is True, "nobody is left"
    for process in (first, second):
        process.communicate(timeout=10)


def test_the_lead_passes_on_when_a_worker_is_killed(tmp_path):
    first = worker(tmp_path)
    assert word(first) is True
    leadership = Leadership(tmp_path)
    assert not leadership.leads()
    first.kill()
    first.communicate(timeout=10)
    assert leadership.try_lead()
    assert leadership.release()
