"""The plugin's hooks, the command `oqto-sandbox`, and what happens when a part of confinement is missing."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from oqto_plugin_sandbox import delegation, host, runner
from oqto_plugin_sandbox.egress.proxy import EgressProxy
from oqto_plugin_sandbox.policy.load import Owner
from oqto_plugin_sandbox.policy.model import Limits
from oqto_plugin_sandbox.sandboxes import Sandboxes

from oqto_platform.errors import Unconfined
from oqto_platform.types import Outcome, Session, SpawnPlan

pytestmark = pytest.mark.real


@pytest.fixture
def sandboxes(own_home):
    tmp_path = own_home
    delegation.arrange()
    (tmp_path / "home/ws/.oqto").mkdir(parents=True)
    (tmp_path / "state").mkdir()
    owner = Owner(home=str(tmp_path / "home"), uid=os.getuid(), system_files=(), is_team=False)
    notes = []
    made = Sandboxes(owner, tmp_path / "state", lambda name, decision: notes.append((name, decision)))
    return made, tmp_path / "home/ws", notes


async def execute(confined, timeout_s=30):
    try:
        process = await asyncio.create_subprocess_exec(
            *confined.argv, env=dict(confined.env), cwd=confined.cwd, pass_fds=confined.fds, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    finally:
        for fd in confined.fds:
            os.close(fd)
    async with asyncio.timeout(timeout_s):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def policy(workspace, text):
    (workspace / ".oqto/sandbox.toml").write_text(text)


async def test_the_workspace_file_holds_for_the_next_start(sandboxes):
    boxes, workspace, _ = sandboxes
    spawn = SpawnPlan(argv=("/bin/sh", "-c", "touch made; ls"), cwd=str(workspace))
    assert await execute(await boxes.confine("s1", str(workspace), spawn)) == (0, "made\n", "")
    (workspace / "made").unlink()
    policy(workspace, "readonly_workspace = true")
    confined = await boxes.confine("s1", str(workspace), spawn)
    _, out, err = await execute(confined)
    assert (out, "Read-only" in err) == ("", True)
    assert confined.summary.startswith("can read here; network: open; profile development")
    await boxes.close()


async def test_an_agent_above_another_workspace_leaves_its_policy_alone(sandboxes):
    """Also after the runner was started again; a workspace that is gone is forgotten."""
    boxes, workspace, _ = sandboxes
    inner, gone = workspace / "packages/inner", workspace / "gone"
    for folder in (inner, gone):
        folder.mkdir(parents=True)
        spawn = SpawnPlan(argv=("/bin/true",), cwd=str(folder))
        assert (await execute(await boxes.confine("s", str(folder), spawn)))[0] == 0
    (inner / ".oqto/sandbox.toml").write_text("readonly_workspace = true")
    shutil.rmtree(gone)
    await boxes.close()
    boxes = Sandboxes(boxes.owner, workspace.parents[1] / "state", lambda name, decision: None)
    script = "echo > packages/inner/.oqto/sandbox.toml; mv packages p; mv packages/inner x; rm -r packages/inner/.oqto; echo on > packages/inner/file; mkdir gone/"
    spawn = SpawnPlan(argv=("/bin/sh", "-c", script), cwd=str(workspace))
    code, _, err = await execute(await boxes.confine("s", str(workspace), spawn))
    assert (code, err.count("Read-only file system"), err.count("busy")) == (0, 2, 2), err
    assert (inner / ".oqto/sandbox.toml").read_text() == "readonly_workspace = true"
    assert (inner / "file").read_text() == "on\n"
    assert len(list((workspace.parents[1] / "state/workspaces").iterdir())) == 2
    await boxes.close()


async def test_a_policy_in_a_folder_without_a_session_so_far_is_left_alone_too(sandboxes):
    boxes, workspace, _ = sandboxes
    (workspace / "cloned/.oqto").mkdir(parents=True)
    (workspace / "cloned/.oqto/sandbox.toml").write_text("readonly_workspace = true")
    script = "echo > cloned/.oqto/sandbox.toml; rm -r cloned/.oqto; mv cloned x; echo on > cloned/file"
    await execute(
        await boxes.confine(
            "s", str(workspace), SpawnPlan(argv=("/bin/sh", "-c", script), cwd=str(workspace))
        )
    )
    assert (workspace / "cloned/.oqto/sandbox.toml").read_text() == "readonly_workspace = true"
    assert (workspace / "cloned/file").read_text() == "on\n"
    await boxes.close()


async def test_only_a_base_file_switches_the_sandbox_off(sandboxes):
    boxes, workspace, _ = sandboxes
    spawn = SpawnPlan(argv=("/bin/sh", "-c", "echo $KEY"), cwd=str(workspace), env={"KEY": "given"})
    policy(workspace, "enabled = false")
    assert (await _closed(boxes.confine("s", str(workspace), spawn))).confined_by == "bubblewrap"
    (workspace.parent / ".config/oqto").mkdir(parents=True)
    (workspace.parent / ".config/oqto/sandbox.toml").write_text("enabled = false")
    off = await boxes.confine("s", str(workspace), spawn)
    assert (off.confined_by, off.profile, off.argv, off.fds) == ("none", "off", spawn.argv, ())
    assert "sandbox off" in off.summary
    assert await execute(off) == (0, "given\n", "")
    await boxes.close()


async def _closed(confining):
    confined = await confining
    for fd in confined.fds:
        os.close(fd)
    return confined


async def test_proxy_mode_end_to_end(sandboxes, monkeypatch):
    boxes, workspace, notes = sandboxes
    policy(workspace, '[network]\nmode = "proxy"\nallow_domains = ["ok.test:8080"]')

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    far = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = far.sockets[0].getsockname()
    connect = asyncio.open_connection

    async def resolver(name, port):
        return ["203.0.113.7"]

    async def dialled(host, port, **options):
        assert (host, port) == ("203.0.113.7", 8080)
        return await connect(*address, **options)

    monkeypatch.setattr(asyncio, "open_connection", dialled)
    made = EgressProxy.__init__
    monkeypatch.setattr(
        EgressProxy,
        "__init__",
        lambda self, network, note: made(self, network, note, resolver=resolver, may_dial=lambda _: True),
    )
    script = "import urllib.request as u\nprint(u.urlopen('http://ok.test:8080/').read())\ntry: u.urlopen('http://evil.test/')\nexcept Exception as e: print(e.code, e.read().decode())\n"
    script += "import socket\nfor port in (53, 443):\n    try: socket.socket(2, 2).sendto(b'x', ('203.0.113.7', port)); print('SENT')\n    except OSError: pass\n"
    script += "try: socket.getaddrinfo('ok.test', 80); print('RESOLVED')\nexcept OSError: pass\n"
    script += "try: socket.create_connection(('203.0.113.7', 80), 2); print('REACHED')\nexcept OSError: print('closed')"
    spawn = SpawnPlan(argv=("/usr/bin/python3", "-c", script), cwd=str(workspace))
    _, out, err = await execute(await boxes.confine("s", str(workspace), spawn))
    assert (
        out == "b'hello'\n403 oqto-sandbox: evil.test:80: network.allow_domains does not list it\n\nclosed\n"
    ), err
    assert [(name, d.host, d.is_allowed) for name, d in notes] == [
        ("s", "ok.test", True),
        ("s", "evil.test", False),
    ]
    await boxes.ended("s")
    await boxes.ended("s")
    left = {path.name for path in (workspace.parent.parent / "state").iterdir()}
    assert left == {"workspaces"}, "its socket is gone"
    far.close()


async def test_a_dead_proxy_closes_the_way_out(sandboxes):
    boxes, workspace, _ = sandboxes
    policy(workspace, '[network]\nmode = "proxy"')
    script = "import urllib.request as u\nprint('ready', flush=True); input()\ntry: u.urlopen('http://example.org/', timeout=5); print('REACHED')\nexcept Exception: print('closed')"
    confined = await boxes.confine(
        "s", str(workspace), SpawnPlan(argv=("/usr/bin/python3", "-c", script), cwd=str(workspace))
    )
    process = await asyncio.create_subprocess_exec(
        *confined.argv,
        env={},
        pass_fds=confined.fds,
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    for fd in confined.fds:
        os.close(fd)
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"ready\n"
        await boxes.ended("s")
        assert (await process.communicate(b"\n"))[0] == b"closed\n"


async def test_d26_memory_beyond_the_limit_ends_the_agent_with_its_cause(sandboxes):
    from oqto_plugin_sandbox import limits

    if not limits.available()["memory"]:
        pytest.skip("no writable memory control group on this machine")
    boxes, workspace, _ = sandboxes
    policy(workspace, "[limits]\nmemory_mb = 64")
    spawn = SpawnPlan(
        argv=("/usr/bin/python3", "-c", "b = bytearray(1 << 29); print('GOT IT')"), cwd=str(workspace)
    )
    code, out, err = await execute(await boxes.confine("s", str(workspace), spawn))
    assert (code, out) == (137, "")
    assert "killed: memory limit 64 MiB" in err
    twin = SpawnPlan(
        argv=("/usr/bin/python3", "-c", "b = bytearray(1 << 20); print('fits')"), cwd=str(workspace)
    )
    assert (await execute(await boxes.confine("s", str(workspace), twin)))[1] == "fits\n"
    await boxes.close()


async def test_d25_a_fork_bomb_meets_its_limit(sandboxes):
    from oqto_plugin_sandbox import limits

    if not limits.available()["pids"]:
        pytest.skip("no writable pids control group on this machine")
    boxes, workspace, _ = sandboxes
    policy(workspace, "[limits]\npids = 20")
    script = "import os\nn = 0\ntry:\n    while n < 200:\n        if os.fork() == 0: os.pause() if 0 else __import__('signal').pause()\n        n += 1\nexcept BlockingIOError: print(n < 20)"
    code, out, _ = await execute(
        await boxes.confine(
            "s", str(workspace), SpawnPlan(argv=("/usr/bin/python3", "-c", script), cwd=str(workspace))
        )
    )
    assert (code, out) == (0, "True\n")
    await boxes.close()


BURN = "import time\nwhile time.process_time() < {}: pass"


async def test_processor_time_of_many_short_processes_ends_the_session_with_its_cause(sandboxes):
    """None of them uses as much as the limit; together they would go on without end."""
    from oqto_plugin_sandbox import limits

    boxes, workspace, _ = sandboxes
    policy(workspace, "[limits]\ncpu_seconds = 1")
    groups = limits.make_groups(Limits(cpu_seconds=1), "tried")
    groups.remove()
    if not groups.cpu_time:
        pytest.skip("no control group that counts processor time on this machine")
    script = f"i=0; while [ $((i=i+1)) -le 60 ]; do /usr/bin/python3 -c '{BURN.format(0.3)}'; done; echo ALL"
    spawn = SpawnPlan(argv=("/bin/sh", "-c", script), cwd=str(workspace))
    code, out, err = await execute(await boxes.confine("s", str(workspace), spawn))
    assert (code, out) == (143, "")
    assert "ended: processor time limit 1 s" in err
    twin = SpawnPlan(
        argv=("/usr/bin/python3", "-c", BURN.format(0.1) + "\nprint('done')"), cwd=str(workspace)
    )
    assert (await execute(await boxes.confine("s", str(workspace), twin)))[1] == "done\n"
    await boxes.close()


async def test_without_control_groups_each_process_has_the_processor_time_and_dies_by_its_name(
    sandboxes, monkeypatch
):
    from oqto_plugin_sandbox import limits

    monkeypatch.setattr(limits.delegation, "unified", lambda: None)
    monkeypatch.setattr(limits, "_own_part", lambda controller: None)
    boxes, workspace, _ = sandboxes
    policy(workspace, "[limits]\ncpu_seconds = 1")
    script = (
        f"/usr/bin/python3 -c '{BURN.format(30)}'; echo code $?; exec /usr/bin/python3 -c '{BURN.format(30)}'"
    )
    spawn = SpawnPlan(argv=("/bin/bash", "-c", script), cwd=str(workspace))
    code, out, err = await execute(await boxes.confine("s", str(workspace), spawn))
    assert (code, out) == (152, "code 152\n")
    assert "CPU time limit exceeded" in err
    assert "killed: processor time limit of one process" in err
    await boxes.close()


async def test_without_control_groups_rlimits_stand_in(sandboxes, monkeypatch):
    from oqto_plugin_sandbox import limits

    monkeypatch.setattr(limits, "_parent", lambda controller: None)
    assert limits.available() == {"memory": False, "pids": False}
    assert limits.make_groups(Limits(memory_mb=64, pids=9), "x").missing == ("memory", "pids")
    boxes, workspace, _ = sandboxes
    policy(workspace, "[limits]\nmemory_mb = 64")
    script = "import sys\ntry: bytearray(1 << 28)\nexcept MemoryError: print('refused')"
    assert (
        await execute(
            await boxes.confine(
                "s", str(workspace), SpawnPlan(argv=("/usr/bin/python3", "-c", script), cwd=str(workspace))
            )
        )
    )[1] == "refused\n"
    await boxes.close()


# -- the hooks -----------------------------------------------------------------------------------


class _Context:
    def __init__(self, path):
        self.state_dir = self.data_dir = path
        self.audited = []

    def audit(self, event, **fields):
        self.audited.append((event, fields))


async def test_the_hooks_confine_and_forget(own_home, monkeypatch):
    tmp_path = own_home
    workspace = tmp_path / "ws"
    workspace.mkdir()
    monkeypatch.setattr(
        runner, "owner", lambda: Owner(home=str(tmp_path), uid=os.getuid(), system_files=(), is_team=False)
    )
    session = Session(id="ses_test", account_id="acc_test", workspace=str(workspace))
    spawn = SpawnPlan(argv=("/bin/pwd",), cwd=str(workspace))
    with pytest.raises(Unconfined):
        await runner.confine(session, spawn)
    runner.startup(_Context(tmp_path))
    confined = await runner.confine(session, spawn)
    assert (confined.cwd, confined.env, confined.confined_by) == (str(workspace), {}, "bubblewrap")
    assert await execute(confined) == (0, f"{workspace}\n", "")
    for _ in range(2):
        await runner.session_stopped(session, Outcome(reason="exited"))
    await runner.shutdown()
    assert all(check.ok for check in await runner.health())


# -- what is missing does not start --------------------------------------------------------------


@pytest.fixture
def fresh():
    host.forget()
    yield
    host.forget()


def test_f01_without_bubblewrap_the_repair_is_named(fresh, monkeypatch):
    monkeypatch.setattr(host, "PLACES", ("/nonexistent",))
    with pytest.raises(Unconfined, match=r"bubblewrap is not installed.* Repair: .*install"):
        host.bubblewrap()


@pytest.mark.parametrize(
    ("script", "mode", "message"),
    [
        ("echo bubblewrap 0.4.1", 0o755, "older than"),
        ("echo bubblewrap 0.11.0", 0o777, "can be changed"),
        ("exit 1", 0o755, "older than"),
    ],
)
def test_f01_a_bubblewrap_that_is_not_to_be_trusted(fresh, monkeypatch, tmp_path, script, mode, message):
    if os.getuid():
        pytest.skip("the file has to be root's")
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(mode)
    monkeypatch.setattr(host, "PLACES", (str(tmp_path),))
    with pytest.raises(Unconfined, match=message):
        host.bubblewrap()


WITHOUT_NAMESPACES = """
import ctypes, os, sys
from pathlib import Path
from oqto_platform.errors import Unconfined
from oqto_plugin_sandbox import host
ctypes.CDLL(None).unshare(0x10000000)
print(flush=True); input()
Path("/proc/sys/user/max_user_namespaces").write_text("0")
os.setgroups([]); os.setresgid(*[int(sys.argv[1])] * 3); os.setresuid(*[int(sys.argv[1])] * 3)
try: host.probe(); print("RAN")
except Unconfined as refused: print(refused.detail)
"""


def test_f02_without_user_namespaces_the_repair_is_named(beside_root):
    """In a user namespace of its own, so that the switch is off for this one process."""
    argv = [sys.executable, "-c", WITHOUT_NAMESPACES, str(beside_root)]
    with subprocess.Popen(argv, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{name}").write_text("0 0 4294967295")
        said, _ = process.communicate("go\n", timeout=30)
    assert "bubblewrap cannot make a sandbox: " in said
    assert said.strip().endswith("Repair: sysctl -w user.max_user_namespaces=15000")


def test_f03_on_a_machine_without_a_filter_nothing_starts(fresh, monkeypatch):
    from oqto_plugin_sandbox.seccomp import tables

    monkeypatch.setattr(tables.platform, "machine", lambda: "riscv64")
    with pytest.raises(Unconfined, match="no system-call filter"):
        host.probe()
