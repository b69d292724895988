"""
What keys do to a server from one start to the next: a runner of its own beside it, as on a machine for several people.

One runner for all; the server starts anew where a key asks for it.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from commands import oqtoctl
from live_config import settings
from waiting import until

from oqto_platform.children import listener_pid
from oqto_platform.testing.stack import NAME, PASSWORD, Stack

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("needs_bubblewrap")]
USER = pwd.getpwuid(os.getuid()).pw_name
SECRET = "s" * 48


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    """A runner that nobody's server started; its socket is where the pattern says, for this user and uid."""
    root = tmp_path_factory.mktemp("runners")
    socket = root / f"{USER}-{os.getuid()}" / "oqto-runner.sock"
    command = [
        sys.executable,
        "-I",
        "-m",
        "oqto_runner",
        "--socket",
        str(socket),
        "--state-dir",
        str(root / "state"),
    ]
    command += ["--only-plugin", "sandbox", "--only-plugin", "builtin"]
    env = {"HOME": str(root), "PATH": os.environ["PATH"], "OQTO_RUNNER_ID": "workstation-1"}
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, cwd="/")
    until(lambda: listener_pid(str(socket)) == process.pid)
    process.pattern = str(root / "{user}-{uid}" / "oqto-runner.sock")
    yield process
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def stack(tmp_path_factory, runner):
    root = tmp_path_factory.mktemp("server")
    config = root / "config.toml"
    env = {
        "OQTO_CONFIG": str(config),
        "OQTO_DATABASE_PATH": str(root / "other.db"),
        "AUTH_JWT_SECRET": SECRET,
    }
    command = (sys.executable, "-m", "oqto_platform.cli.serve", "serve", "--port", "0")
    with_config(config, runner)
    stack = Stack(root, plugins=("sandbox",), command=command, env=env)
    stack.command = (*command[:-1], str(stack.port))
    del stack.env["OQTO__LOCAL__SINGLE_USER"]
    stack.config = config
    with stack:
        stack.set_up()
        yield stack


def with_config(path: Path, runner, **sections: str) -> None:
    local = f"runner_socket_pattern = '{runner.pattern}'\n{sections.pop('local', '')}\n"
    tables = {"local": local, **sections}
    path.write_text("".join(f"[{name}]\n{text}\n" for name, text in tables.items()))


def again(stack, runner, **sections: str) -> None:
    """Stop, and start with another configuration."""
    stack.stop()
    with_config(stack.config, runner, **sections)
    stack.start()


def state(stack, session: str) -> str:
    return stack.client.get(f"/api/sessions/{session}").json()["state"]


def test_the_runner_of_the_pattern_is_the_one_that_works_under_its_name(stack, runner):
    session = stack.start_session(harness="echo")["id"]
    assert (
        not list((stack.state_dir / "runner").glob("*.sock"))
        if (stack.state_dir / "runner").exists()
        else True
    )
    logs = Path(runner.pattern).parents[1] / "state"
    until(lambda: any(session in path.name for path in logs.rglob("*")))
    assert any('"runner_id":"workstation-1"' in path.read_text() for path in logs.rglob("*.jsonl"))


def test_the_database_is_where_the_variable_says(stack):
    assert (stack.root / "other.db").stat().st_size > 0
    assert not (stack.data_dir / "oqto.db").exists()


def test_the_admin_socket_is_its_owners_alone_and_oqtoctl_needs_no_token(stack):
    path = stack.root / "oqtoctl.sock"
    until(path.exists)
    stack.start_session(harness="echo")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "echo" in oqtoctl(stack, "--admin-socket", str(path), "session", "list").stdout
    stack.env["OQTO_ADMIN_SOCKET"] = str(path)
    assert oqtoctl(stack, "session", "list").returncode == 0
    stack.env["OQTO_ADMIN_SOCKET"] = str(path.with_name("none.sock"))
    told = oqtoctl(stack, "session", "list")
    del stack.env["OQTO_ADMIN_SOCKET"]
    assert told.returncode == 3
    assert "none.sock" in told.stderr


def test_oqtoctl_asks_the_server_of_the_variable_with_its_token(stack):
    env = stack.env | {"OQTO_SERVER_URL": stack.url, "OQTO_AUTH_TOKEN": stack.client.cookies["oqto"]}
    command = [
        sys.executable,
        "-c",
        "from oqto_platform.cli import main; main()",
        "--json",
        "session",
        "list",
    ]
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == stack.client.get("/api/admin/sessions").json()


def test_an_operation_that_takes_too_long_is_given_up(stack, runner):
    with_config(stack.config, runner, runtime="timeout = 1")
    until(lambda: settings(stack)["runtime.timeout"]["value"] == 1)
    os.kill(runner.pid, signal.SIGSTOP)
    try:
        answer = stack.client.get("/api/workspaces/browse")
    finally:
        os.kill(runner.pid, signal.SIGCONT)
    assert (answer.status_code, answer.json()["code"]) == (503, "runner-unavailable")
    assert answer.json()["detail"] == "the runner did not answer workspace.browse within 1 s"
    assert stack.client.get("/api/workspaces/browse").status_code == 200


def test_a_log_file_that_cannot_be_written_is_refused_and_the_next_change_is_seen(stack, runner):
    with_config(stack.config, runner, logging="file = '/proc/oqto.log'")
    sentence = (
        "[logging] file: cannot write /proc/oqto.log: No such file or directory; mend it, or remove the key"
    )
    until(lambda: stack.client.get("/api/settings/status").json()["error"] == sentence)
    with_config(stack.config, runner, logging="audit_file = '/proc/audit.jsonl'")
    until(
        lambda: "audit_file: cannot write /proc" in stack.client.get("/api/settings/status").json()["error"]
    )
    with_config(stack.config, runner, logging=f"file = '{stack.root}/own.log'")
    until((stack.root / "own.log").exists)


def test_sessions_outlive_the_server_unless_their_end_is_asked_for(stack, runner):
    session = stack.start_session(harness="echo")["id"]
    again(stack, runner, local="stop_sessions_on_shutdown = false")
    assert state(stack, session) == "running", "nobody asked for its end"
    again(stack, runner, local="cleanup_on_startup = true")
    assert state(stack, session) in ("stopped", "settled"), "stopped when the server started"
    session = stack.start_session(harness="echo")["id"]
    with_config(stack.config, runner, local="stop_sessions_on_shutdown = true")
    until(lambda: settings(stack)["local.stop_sessions_on_shutdown"]["value"] is True)
    again(stack, runner)
    assert state(stack, session) in ("stopped", "settled"), "stopped when the server stopped"


def test_without_auditing_there_is_no_file_and_with_it_each_sign_in_is_a_line(stack, runner):
    log = stack.state_dir / "audit.log.jsonl"
    again(stack, runner, logging="audit_enabled = false")
    before = log.read_text()
    stack.sign_in()
    assert log.read_text() == before
    with_config(stack.config, runner, logging=f"audit_file = '{stack.root}/kept/audit.jsonl'")
    moved = stack.root / "kept" / "audit.jsonl"
    until(lambda: moved.exists() and "config.changed" in moved.read_text())
    stack.sign_in()
    events = [json.loads(line)["event"] for line in moved.read_text().splitlines()]
    assert events == ["audit.continued", "config.changed", "sign-in"]
    assert stat.S_IMODE(moved.stat().st_mode) == 0o600
    assert "unbroken" in oqtoctl(stack, "audit", "verify").stdout


def test_in_production_cookies_are_for_tls_and_signed_with_the_secret_of_the_variable(stack, runner):
    import bcrypt
    import jwt

    hashed = bcrypt.hashpw(b"developer-password", bcrypt.gensalt(4)).decode()
    user = f"id = 'dev'\nname = 'Developer'\nemail = ''\npassword_hash = '{hashed}'\n"
    prod = "dev_mode = false\njwt_secret = 'env:AUTH_JWT_SECRET'\n"
    again(stack, runner, auth=f"{prod}[[auth.dev_users]]\n{user}")
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=60) as client:
        answer = client.post("/api/auth/login", json={"name": NAME, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        cookie = answer.headers["set-cookie"]
        assert "; Secure" in cookie
        token = cookie.partition("=")[2].partition(";")[0]
        assert jwt.decode(token, SECRET, ["HS256"], options={"verify_aud": False})["sub"]
        refused = client.post("/api/auth/login", json={"name": "Developer", "password": "developer-password"})
        assert refused.status_code == 401
