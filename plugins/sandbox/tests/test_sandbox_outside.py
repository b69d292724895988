"""What happens outside while and after an agent runs: nothing of it is executed there, and the policy is that of the start."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from oqto_plugin_sandbox import host, scan
from oqto_plugin_sandbox.policy.load import Owner
from oqto_plugin_sandbox.sandboxes import Sandboxes
from oqto_runner import browse, workspaces
from waiting import until

from oqto_platform.canon import Notify
from oqto_platform.errors import ConfigError, Unconfined
from oqto_platform.types import SpawnPlan, ToolCall, WorkspaceRequest

pytestmark = pytest.mark.real


def touched(box) -> bool:
    """Whether something that the agent planted ran outside."""
    return (box.root / "RAN").exists()


def look_around(box) -> None:
    """What the platform does with a workspace by itself."""
    browse.listing(str(box.workspace), show_hidden=True)
    workspaces.open_workspace(WorkspaceRequest(path=str(box.workspace)))
    scan.found(scan.before(str(box.workspace)))
    assert box.sh("echo again").out == "again\n"


def test_b17_a_repository_that_the_agent_made_runs_nothing_on_the_host(box):
    trap = box.write(box.workspace / "trap", f"#!/bin/sh\ntouch {box.root}/RAN\n", 0o755)
    script = f"git init -q . && git config core.fsmonitor {trap} && git config core.pager {trap} && cp trap .git/hooks/post-checkout"
    assert box.sh(script).code == 0
    look_around(box)
    assert not touched(box)
    box.host(f"git status >/dev/null; test -e {box.root}/RAN", cwd=box.workspace)  # the trap works


def test_b24_a_python_of_the_workspace_runs_inside_or_not_at_all(box, monkeypatch):
    trap = f"#!/bin/sh\ntouch {box.root}/RAN\ntouch {box.workspace}/inside\n"
    for name in (
        ".venv/bin/python",
        ".venv/bin/python3",
        ".venv/bin/bwrap",
        ".venv/bin/env",
        "bwrap",
        "python3",
    ):
        box.write(box.workspace / name, trap, 0o755)
    box.write(box.workspace / ".venv/pyvenv.cfg", f"home = {box.workspace}\n")
    box.write(box.workspace / "sitecustomize.py", f"open('{box.root}/RAN', 'w')\n")
    monkeypatch.setenv("PATH", f"{box.workspace}/.venv/bin:{box.workspace}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(box.workspace))
    monkeypatch.chdir(box.workspace)
    host.forget()
    look_around(box)
    assert not touched(box)
    assert box.sh("./.venv/bin/python; ls inside").out == "inside\n"
    assert not touched(box)


def test_d17_nothing_is_loaded_into_the_launcher(box):
    confined = box.confined(
        "/bin/sh", "-c", "echo $KEEP", env={"LD_PRELOAD": "/x.so", "KEEP": "1", "GCONV_PATH": "/x"}
    )
    assert confined.env == {}
    assert not any("x.so" in word for word in confined.argv)
    done = box.finish(box.spawn(confined))
    assert (done.out, done.err) == ("1\n", "")


def test_d20_b12_an_agent_of_root_is_nobody_special(box):
    script = (
        "id -u; cat /proc/1/environ /proc/1/root/etc/shadow /etc/shadow 2>/dev/null; umount ~/.ssh .oqto /usr 2>/dev/null && echo UMOUNT;"
        "mount -o remount,rw /usr 2>/dev/null && echo MOUNT; chown 0:0 file 2>/dev/null && echo CHOWN;"
        "mknod n c 1 3 2>/dev/null && echo NODE; cp /bin/true t; chmod u+s t 2>/dev/null && echo SETUID; nice -n -5 true 2>/dev/null; echo twin > mine; cat mine"
    )
    first, *rest = box.sh(script).out.splitlines()
    assert (first != "0", rest) == (True, ["twin"])
    assert (box.workspace / "mine").stat().st_uid == box.uid


@pytest.mark.parametrize("place", ["/tmp", "/var/tmp"])
def test_c14_a_workspace_in_a_folder_for_temporary_files_is_usable(box, place, tmp_path):
    folder = Path(f"{place}/oqto-test-{os.getpid()}-{box.uid}")
    folder.mkdir()
    try:
        (folder / "file").write_text("mine")
        os.chown(folder, box.uid, box.uid)
        box.workspace = folder
        assert box.sh(f"cat file; echo x > new; ls -d {place}/oqto-test-*").out == f"mine{folder}\n"
        assert (folder / "new").read_text() == "x\n"
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.parametrize("content", [None, b"", b"1234567"], ids=["missing", "empty", "torn"])
def test_f03_a_filter_of_the_administrator_that_cannot_be_loaded_refuses(box_beside_root, tmp_path, content):
    box = box_beside_root
    file = tmp_path / "filter.bpf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Unconfined, match="seccomp_bpf_path"):
        box.sh("echo RAN", policy=f'seccomp_bpf_path = "{file}"')
    file.write_bytes(
        bytes.fromhex("0600000000000000")
    )  # RET_KILL for everything: it is stacked, never instead
    assert "RAN" not in box.sh("echo RAN", policy=f'seccomp_bpf_path = "{file}"').out


def test_nothing_outlives_an_init_process_that_somebody_killed(box, running):
    marker = f"98{os.getpid()}{time.monotonic_ns() % 10_000}"
    process = box.start("/bin/bash", "-c", f"setsid sleep {marker} & echo ready; sleep {marker}")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    inside = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(inside) == 1
    os.kill(int(inside[0]), signal.SIGKILL)
    assert box.finish(process, 20).code != 0
    until(lambda: not running(marker))


# -- the policy while a session runs --------------------------------------------------------------


class Machine:
    """A machine for several people with a policy of root, and what its sessions were told."""

    def __init__(self, root: Path) -> None:
        self.system, self.home, self.workspace = root / "etc/sandbox.toml", root / "home", root / "home/ws"
        (self.workspace / ".oqto").mkdir(parents=True)
        (self.home / ".ssh").mkdir()
        (self.home / ".ssh/id").write_text("CANARY")
        (root / "state").mkdir()
        self.system.parent.mkdir()
        self.system.write_text('profile = "development"\n')
        self.told: list[str] = []
        self.owner = Owner(
            home=str(self.home),
            uid=os.getuid(),
            system_files=(str(self.system),),
            system_uid=os.getuid(),
            is_team=True,
        )
        self.boxes = Sandboxes(
            self.owner,
            root / "state",
            lambda *_: None,
            tell=lambda _, e: self.told.append(e.message) if isinstance(e, Notify) else None,
        )

    async def start(self, name: str, script: str):
        spawn = SpawnPlan(argv=("/bin/bash", "-c", script), cwd=str(self.workspace))
        confined = await self.boxes.confine(name, str(self.workspace), spawn)
        try:
            return await asyncio.create_subprocess_exec(
                *confined.argv, env={}, cwd=confined.cwd, pass_fds=confined.fds, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        finally:
            for fd in confined.fds:
                os.close(fd)


@pytest.fixture
async def machine(own_home):
    made = Machine(own_home)
    yield made
    await made.boxes.close()


async def test_f06_without_the_policy_running_sessions_go_on_and_new_ones_are_refused(machine):
    process = await machine.start("a", "read line; cat ~/.ssh/id; echo on")
    machine.system.unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        await machine.start("b", "echo RAN")
    out, err = await process.communicate(b"go\n")
    assert (out, b"CANARY" in err) == (b"on\n", False)


@pytest.mark.parametrize("which", ["system", "workspace", "user"])
async def test_f15_a_policy_that_changed_is_said_to_need_a_new_start(machine, which):
    (machine.workspace / "notes").write_text("secret")
    process = await machine.start("a", "read line; cat notes")
    file = {
        "system": machine.system,
        "workspace": machine.workspace / ".oqto/sandbox.toml",
        "user": machine.home / ".config/oqto/sandbox.toml",
    }[which]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'deny_read = ["{machine.workspace}/notes"]\n')
    for call_id in "12":
        await machine.boxes.heard("a", ToolCall(id=call_id, name="bash", output="fine"))
    assert len(machine.told) == 1, "once, not with every tool"
    assert str(file).endswith(
        "/" + machine.told[0].partition(" has changed. ")[0].removeprefix("~/").lstrip("/")
    )
    assert "stop and resume it" in machine.told[0]
    assert (await process.communicate(b"go\n"))[0] == b"secret", (
        "the plan of a sandbox that runs does not change"
    )
    await machine.boxes.ended("a")
    again = await machine.start("a", "cat notes")
    assert (await again.communicate())[0] == b""


async def test_a_mask_that_went_with_the_file_under_it_is_told(machine):
    """An editor saves `.env` by moving a new file over it; in a folder that the agent writes no mask survives that."""
    (machine.workspace / ".env").write_text("OLD")
    (machine.workspace / "keys").mkdir()
    (machine.workspace / ".oqto/sandbox.toml").write_text('deny_read = [".env", "keys"]')
    process = await machine.start("a", "read line; cat .env keys")
    await machine.boxes.heard("a", ToolCall(id="0", name="bash"))
    assert machine.told == []
    (machine.workspace / ".env.new").write_text("NEW")
    (machine.workspace / ".env.new").replace(machine.workspace / ".env")
    for call_id in "12":
        await machine.boxes.heard("a", ToolCall(id=call_id, name="bash"))
    assert len(machine.told) == 1
    assert machine.told[0].startswith(".env is denied, but it was replaced")
    await process.communicate(b"go\n")
    await machine.boxes.ended("a")
    again = await machine.start("a", "cat .env")
    assert (await again.communicate())[0] == b""


async def test_e27_the_socket_of_the_proxy_asks_the_same_policy(machine):
    machine.system.write_text('[network]\nmode = "proxy"\nallow_domains = ["ok.test"]\n')
    script = (
        "import socket\ns = socket.socket(socket.AF_UNIX)\n"
        "try:\n    s.connect('/run/oqto/3128.sock'); s.sendall(b'CONNECT evil.test:443 HTTP/1.1\\r\\n\\r\\n'); print(s.recv(99)[:12])\n"
        "except OSError as e: print(type(e).__name__)"
    )
    process = await machine.start("a", f'/usr/bin/python3 -c "{script}"')
    out, err = await process.communicate()
    assert out.strip() in (b"b'HTTP/1.1 403'", b"PermissionError"), err


ASK = """
import socket, sys
def asked(words):
    with socket.create_connection(("127.0.0.1", 3128), 10) as proxy:
        proxy.sendall(words.encode()); return proxy.recv(99).decode().split(" ")[1]
port = sys.argv[1]
for host in sys.argv[2:]:
    try: socket.create_connection((host, int(port)), 5); print("REACHED", host)
    except OSError: pass
    print(asked(f"CONNECT {host}:{port} HTTP/1.1\\r\\n\\r\\n"), asked(f"GET http://{host}:{port}/ HTTP/1.1\\r\\n\\r\\n"))
own = socket.create_server(("127.0.0.1", 0)); socket.create_connection(own.getsockname(), 5); print("twin")
"""


@pytest.mark.parametrize("is_listed", [False, True], ids=["any public name", "listed by name and address"])
async def test_e14_the_proxy_leads_to_no_service_of_this_machine(machine, is_listed):
    """Of another account, of another session, of the server: whatever listens here, and even where a policy lists it."""
    with socket.create_server(("0.0.0.0", 0)) as theirs:
        port = theirs.getsockname()[1]
        hosts = [
            "127.0.0.1",
            "localhost",
            "127.1",
            socket.gethostname(),
            socket.gethostbyname(socket.gethostname()),
        ]
        listed = [
            f"{host}:{port}" for host in hosts if host != "127.1" and (host == "localhost" or "." in host)
        ]
        lists = f"allow_domains = {listed}\n" if is_listed else ""
        machine.system.write_text(f'[network]\nmode = "proxy"\n{lists}')
        (machine.workspace / "ask.py").write_text(ASK)
        process = await machine.start("a", f"/usr/bin/python3 ask.py {port} {' '.join(hosts)}")
        out, err = await process.communicate()
        theirs.settimeout(0)
        with pytest.raises(BlockingIOError):
            theirs.accept()
    *answers, twin = out.decode().splitlines()
    assert (len(answers), twin) == (len(hosts), "twin"), err
    assert {code[0] for line in answers for code in line.split()} == {"4"}, out
