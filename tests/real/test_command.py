"""The card's command: `granian oqto_platform.app`, as typed and with its usual settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

from oqto_platform.peers import listener_pid
from oqto_platform.testing.mux import mux_client
from oqto_platform.testing.stack import Stack

GRANIAN = str(Path(sys.executable).with_name("granian"))

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("needs_bubblewrap")]


def granian(tmp_path: Path, *options: str, **env: str) -> Stack:
    stack = Stack(tmp_path, plugins=("sandbox",), env=env)
    stack.command = (GRANIAN, "oqto_platform.app", "--port", str(stack.port), *options)
    return stack


@pytest.mark.parametrize("interface", ["rsgi", "asgi"])
async def test_the_literal_command_serves_everything(tmp_path, interface):
    env = {"GRANIAN_INTERFACE": "asgi"} if interface == "asgi" else {}
    with granian(tmp_path, **env) as stack:
        assert "<!doctype html>" in stack.client.get("/").text.lower()
        stack.set_up()
        assert not (stack.state_dir / "setup-link").exists(), "a link that is used up is shown to nobody"
        session = stack.start_session(harness="echo")
        async with mux_client(stack.url, stack.cookie()) as mux:
            await mux.command(session["id"], "subscribe", after=0)
            reply = await mux.command(session["id"], "prompt", message="hello there", client_id="1")
            assert reply["success"]
            await mux.until(lambda event: event["event"] == "agent.idle")
            assert mux.text().strip() == "hello there"
        big = stack.client.post("/api/sessions", json={"workspace": "x" * 2**21})
        assert big.status_code == 422
        async with mux_client(stack.url, stack.cookie()) as mux:
            assert stack.client.post("/api/auth/logout").status_code == 204
            assert stack.client.get("/api/me").status_code == 401
            await mux.until_told(lambda frame: frame.get("code") == "signed_out")
        stack.sign_in()
        async with mux_client(stack.url, stack.cookie()) as mux:
            assert stack.stop() == 0
            await mux.until_told(lambda frame: (frame["type"], frame.get("code")) == ("bye", "restart"))


async def test_two_workers_one_leads_and_a_hup_changes_nothing_for_a_session(tmp_path):
    with granian(tmp_path, "--workers", "2") as stack:
        stack.set_up()
        session = stack.start_session(harness="echo")
        runner = listener_pid(str(stack.state_dir / "runner" / "oqto-runner.sock"))
        assert stack.log.read_text().count("this worker leads") == 1
        old = set(workers(stack.process.pid))
        async with mux_client(stack.url, stack.cookie()) as mux:
            stack.process.send_signal(signal.SIGHUP)
            await mux.until_told(lambda frame: (frame["type"], frame.get("code")) == ("bye", "restart"))
        until(lambda: old.isdisjoint(now := workers(stack.process.pid)) and len(now) == len(old))
        until(lambda: stack.log.read_text().count("this worker leads") >= 2)
        assert listener_pid(str(stack.state_dir / "runner" / "oqto-runner.sock")) == runner
        async with mux_client(stack.url, stack.cookie()) as mux:
            await mux.command(session["id"], "subscribe", after=0)
            await mux.command(session["id"], "prompt", message="still here", client_id="1")
            await mux.until(lambda event: event["event"] == "agent.idle")
            assert mux.text().strip() == "still here"
        assert stack.stop() == 0
        assert not stack.sockets()


async def test_sigterm_ends_the_server_and_all_its_children(echo_stack):
    session = echo_stack.start_session(harness="echo")
    async with mux_client(echo_stack.url, echo_stack.cookie()) as mux:
        await mux.command(session["id"], "prompt", message="spawn hidden", client_id="1")
        await mux.command(session["id"], "subscribe", after=0)
        await mux.until(lambda event: event["event"] == "agent.idle")
        sockets = echo_stack.sockets()
        pids = [listener_pid(str(path)) for path in sockets]
        assert any(pids)
        assert echo_stack.stop() == 0
    assert not [pid for pid in pids if pid and Path(f"/proc/{pid}").exists()]
    assert not [line for line in processes() if str(echo_stack.root) in line]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_start_ends_the_server_in_order(tmp_path, number):
    """A terminal sends SIGINT to all processes, a supervisor SIGTERM to the first one; both may come at once."""
    stack = Stack(tmp_path, plugins=("sandbox",))
    for _ in range(6):
        stack.spawn()
        until(lambda: workers(stack.process.pid))
        if number == signal.SIGINT:
            os.killpg(stack.process.pid, number)
        assert stack.stop() == 0
    said = stack.log.read_text()
    assert "Unexpected exit" not in said
    assert "refused to gracefully stop" not in said


def test_a_wrong_key_stops_the_start_with_one_sentence(tmp_path):
    stack = granian(tmp_path)
    config = tmp_path / "config.toml"
    config.write_text("[sessions]\nidle_timeout_minute = 3\n")
    result = subprocess.run(
        stack.command,
        env=stack.env | {"OQTO_CONFIG": str(config)},
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    assert result.returncode != 0
    assert (
        f"oqto: {config}: [sessions] unknown key 'idle_timeout_minute', did you mean 'idle_timeout_minutes'?"
        in result.stderr
    )
    assert "Traceback" not in result.stderr


def test_a_taken_port_says_how_to_choose_another_and_touches_nothing(tmp_path, echo_stack):
    command = [sys.executable, "-m", "oqto_platform.cli.serve", "serve", "--port", str(echo_stack.port)]
    result = subprocess.run(command, env=echo_stack.env, capture_output=True, text=True, timeout=60, cwd="/")
    assert result.returncode == 1
    assert f"cannot listen on 127.0.0.1:{echo_stack.port}" in result.stderr
    assert "--port" in result.stderr
    assert echo_stack.client.get("/health/live").status_code == 200


def test_personal_mode_listens_on_loopback_only(tmp_path):
    stack = Stack(tmp_path, plugins=("sandbox",))
    command = [*stack.command, "--host", "0.0.0.0"]
    result = subprocess.run(command, env=stack.env, capture_output=True, text=True, timeout=60, cwd="/")
    assert result.returncode == 1
    assert "personal mode answers on 127.0.0.1 only" in result.stderr


def test_a_killed_main_process_frees_the_port(tmp_path):
    with granian(tmp_path) as stack:
        os.kill(stack.process.pid, signal.SIGKILL)
        stack.process.wait()
        stack.process = None
        until(lambda: not listening(stack.port))
        stack.start()
        assert stack.client.get("/health/live").status_code == 200


def workers(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def listening(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def processes() -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
