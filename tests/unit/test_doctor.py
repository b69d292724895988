"""Each thing that can be wrong with a machine is a failing line that names what repairs it."""

from __future__ import annotations

import errno
import json
import os
import socket
import sqlite3
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from oqto_platform.audit import AuditLog
from oqto_platform.audit.events import SignedIn
from oqto_platform.audit.place import Place
from oqto_platform.cli import root
from oqto_platform.config.sections import AgentBrowser
from oqto_platform.doctor import data, network, places
from oqto_platform.doctor.browser import browser
from oqto_platform.doctor.examine import examine
from oqto_platform.errors import OqtoError
from oqto_platform.runners.registry import RunnerAddress
from oqto_platform.testing.stack import free_port
from oqto_platform.types import Principal


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A healthy machine whose server does not run: an environment for the doctor."""
    env = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "OQTO_PLUGINS": "sandbox",
        "OQTO__SERVER__LISTEN": f"127.0.0.1:{free_port()}",
        "OQTO__SERVER__ADMIN_SOCKET_PATH": str(tmp_path / "admin.sock"),
    }
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def examined(machine, running=None, problems=()):
    found = examine(os.environ, "", lambda: running, lambda: list(problems))
    return {check.name: check for check in found}


def failing(checks):
    perhaps_lacking = {"web UI", "agent pi"}
    return {name for name, check in checks.items() if not check.ok} - perhaps_lacking


def sandbox_is_there(checks) -> bool:
    return checks["bubblewrap"].ok and checks["user namespaces"].ok


def test_what_an_uninstalled_plugin_left_is_told_and_no_failure(machine):
    data_dir = machine / ".local/share/oqto"
    (data_dir / "gone").mkdir(parents=True)
    (data_dir / "gone" / "notes.db").touch()
    (data_dir / "plugins.json").write_text('{"gone": {"distribution": "oqto-plugin-gone", "version": "2.1"}}')
    told = examined(machine)["plugin gone"]
    assert told.ok
    assert "oqto-plugin-gone 2.1 is not installed any more" in told.detail
    assert f"the folder {data_dir}/gone" in told.detail


def test_a_disabled_plugin_that_is_not_installed_is_told_and_fails_when_it_never_was(machine, monkeypatch):
    (machine / ".local/share/oqto").mkdir(parents=True)
    known = machine / ".local/share/oqto/plugins.json"
    known.write_text('{"gone": {"distribution": "oqto-plugin-gone", "version": "2.1"}}')
    monkeypatch.setenv("OQTO__PLUGINS__DISABLED", '["gone", "eavs"]')
    assert examined(machine)["plugins.disabled"].ok
    monkeypatch.setenv("OQTO__PLUGINS__DISABLED", '["gone", "sandbx"]')
    told = examined(machine)["plugins.disabled"]
    assert not told.ok
    assert told.detail.startswith("not installed: gone, sandbx; there are: ")
    assert "sandbox" in told.detail
    assert "oqtoctl plugins enable gone" in told.repair


def test_a_machine_on_which_nothing_was_started_yet(machine):
    checks = examined(machine)
    if not sandbox_is_there(checks):
        pytest.skip("no sandbox on this machine")
    assert failing(checks) == set()
    assert checks["data directory"].detail.endswith("will be made at the first start")
    assert not (machine / ".local").exists(), "the doctor changes nothing"


def test_a_wrong_configuration_is_told_once_beside_what_is_wrong_with_the_folders(machine, monkeypatch):
    monkeypatch.setenv("OQTO__SESSIONS__IDLE_TIMEOUT_MINUTES", "0")
    state_dir = machine / ".local" / "state" / "oqto"
    state_dir.mkdir(parents=True, mode=0o755)
    sentence = (
        "OQTO__SESSIONS__IDLE_TIMEOUT_MINUTES: [sessions] idle_timeout_minutes: expected a whole number >= 1"
    )
    checks = examined(machine, problems=[sentence])
    assert failing(checks) == {"config", "state directory"}
    assert checks["config"].detail == sentence
    assert "oqtoctl config check" in checks["config"].repair


def test_a_configuration_that_somebody_else_can_write(machine, monkeypatch):
    file = machine / "config.toml"
    file.write_text("")
    file.chmod(0o666)
    monkeypatch.setenv("OQTO_CONFIG", str(file))
    assert failing(examined(machine)) == {"config"}


def test_a_plugin_that_does_not_load(machine):
    checks = examined(machine, problems=["plugin 'weather' (x 1): cannot be imported"])
    assert checks["plugins"].detail == "plugin 'weather' (x 1): cannot be imported"
    assert "oqtoctl plugins disable" in checks["plugins"].repair


def test_a_sandbox_that_cannot_be(machine, monkeypatch):
    """What the plugins of the runner's side say of this machine is among the lines, with their repair."""
    from oqto_plugin_sandbox import host

    monkeypatch.setattr(host, "PLACES", ("/nonexistent",))
    monkeypatch.setenv("PATH", str(machine))
    checks = examined(machine)
    host.forget()
    assert not checks["bubblewrap"].ok
    assert "bubblewrap" in checks["bubblewrap"].repair
    assert not checks["agent pi"].ok
    assert checks["agent pi"].repair


def test_a_provider_whose_key_is_not_there(machine, monkeypatch):
    file = machine / "config.toml"
    file.write_text(
        "[eavs.providers.mine]\nkind = 'openai-compatible'\nbase_url = 'http://127.0.0.1:9/v1'\n"
        "api_key = 'env:NO_SUCH_KEY'\nmodels = ['m']\nallow_unpriced = true\n"
    )
    file.chmod(0o600)
    monkeypatch.setenv("OQTO_CONFIG", str(file))
    monkeypatch.setenv("OQTO_PLUGINS", "eavs")
    bad = [check for check in examined(machine).values() if not check.ok and "NO_SUCH_KEY" in check.detail]
    assert bad
    assert all(check.repair for check in bad)


def test_what_the_running_server_says_is_passed_on(machine):
    theirs = places._failing("ledger", "is full", "free some space")
    checks = examined(machine, running=[theirs])
    assert checks["ledger"] == theirs
    assert "port" not in checks


@pytest.mark.parametrize("kind", ["file", "open", "closed", "no parent"])
def test_folders(tmp_path, kind, monkeypatch):
    path = tmp_path / "data"
    if kind == "file":
        path.write_text("")
    elif kind == "no parent":
        monkeypatch.setattr(os, "access", lambda *_: False)
    else:
        path.mkdir(mode=0o700)
        path.chmod(0o755 if kind == "open" else 0o700)
        if kind == "closed":
            monkeypatch.setattr(os, "access", lambda *_: False)
    check = places.folder("data directory", path)
    assert not check.ok
    assert str(path) in check.detail
    assert (
        check.repair.split()[0]
        == {"file": "move", "open": "chmod", "closed": "chown", "no parent": "mkdir"}[kind]
    )


@pytest.mark.parametrize("name", ["jwt-secret", "setup-link", "oqto.db", "audit.log.jsonl", "audit.log.jsonl.12", "audit.seal"])  # fmt: skip
def test_a_private_file_that_others_can_read(tmp_path, name):
    (tmp_path / name).write_text("")
    (tmp_path / name).chmod(0o640)
    (tmp_path / "README").write_text("no secret")
    check = places.private_files([tmp_path, tmp_path / "missing"])
    assert not check.ok
    assert check.repair == f"chmod 600 {tmp_path / name}"
    (tmp_path / name).chmod(0o600)
    assert places.private_files([tmp_path]).ok


@pytest.mark.parametrize(
    ("free", "inodes", "words"), [(1, 10**6, "MiB are free"), (10**9, 5, "5 more files fit")]
)
def test_a_full_disk(tmp_path, monkeypatch, free, inodes, words):
    found = SimpleNamespace(f_bavail=free, f_frsize=4096, f_files=10**7, f_favail=inodes)
    monkeypatch.setattr(os, "statvfs", lambda _path: found)
    check = places.disk("disk of the data", tmp_path / "not" / "there")
    assert not check.ok
    assert words in check.detail
    assert "df -" in check.repair


def test_a_page_that_is_not_built(tmp_path):
    assert "make ui" in places.web_ui(tmp_path / "index.html").repair


@pytest.fixture
def chromium(tmp_path, monkeypatch):
    """`chromium(script)`: what is found as Chromium. An ordinary account, and no other browser."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("oqto_platform.doctor.browser._has_helper", lambda _program: False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr("oqto_platform.doctor.browser.PROGRAMS", ("chromium-of-the-test",))

    def chromium(script, unshare="exit 0"):
        for name, lines in (("chromium-of-the-test", script), ("unshare", unshare)):
            (tmp_path / name).write_text(f"#!/bin/sh\n{lines}\n")
            (tmp_path / name).chmod(0o755)
        return tmp_path / "chromium-of-the-test"

    return chromium


SESSIONS_HAVE_ONE = AgentBrowser(enabled=True)
RUNS = "echo Chromium 130.0"


def test_a_browser_that_is_well(chromium):
    path = chromium(RUNS)
    for settings in (SESSIONS_HAVE_ONE, AgentBrowser(executable_path=str(path))):
        check = browser(settings)
        assert check.ok
        assert check.detail == f"Chromium 130.0 at {path}, its sandbox is possible"


@pytest.mark.parametrize(
    ("script", "unshare", "words", "repair"),
    [
        (None, "", "no Chromium was found", "apt-get install chromium"),
        (
            "echo 'libnss3.so: cannot open' >&2; exit 127",
            "",
            "does not run: libnss3.so: cannot open",
            "--version",
        ),
        (
            RUNS,
            "echo 'unshare failed: no' >&2; exit 1",
            "cannot use its sandbox: unshare failed: no",
            "sysctl -w",
        ),
    ],
)
def test_a_browser_that_is_not_well(chromium, script, unshare, words, repair):
    if script is not None:
        chromium(script, unshare)
    check = browser(SESSIONS_HAVE_ONE)
    assert not check.ok
    assert words in check.detail
    assert repair in check.repair
    unused = browser(AgentBrowser())
    assert unused.ok, "no session uses it"
    assert words in unused.detail


def test_a_browser_that_is_named_but_not_there(chromium, tmp_path):
    check = browser(AgentBrowser(enabled=True, executable_path=str(tmp_path / "gone")))
    assert check.detail == f"{tmp_path}/gone is no program"
    assert "[agent_browser] executable_path" in check.repair


def test_a_database_that_is_damaged(tmp_path):
    path = tmp_path / "oqto.db"
    assert data.database(path).ok, "none yet"
    with sqlite3.connect(path) as connection:
        connection.execute("create table account (id text)")
        connection.executemany("insert into account values (?)", [(str(n) * 100,) for n in range(500)])
    connection.close()
    assert data.database(path).ok
    content = bytearray(path.read_bytes())
    content[4096:8192] = os.urandom(4096)
    path.write_bytes(content)
    check = data.database(path)
    assert not check.ok
    assert "backup" in check.repair
    path.write_bytes(b"no database at all, but long enough to look at")
    assert not data.database(path).ok


def test_an_audit_log_that_was_cut(tmp_path):
    place = Place(tmp_path / "audit.jsonl", tmp_path / "audit.seal")
    assert data.audit(place).ok
    log = AuditLog(*place)
    for _ in range(3):
        log(SignedIn(address="x"))
    assert "3 records" in data.audit(place).detail
    place.path.write_text(place.path.read_text().splitlines(keepends=True)[0])
    check = data.audit(place)
    assert not check.ok
    assert "records 2 to 3 are missing at the end" in check.detail
    assert "oqtoctl audit verify" in check.repair
    assert data.audit(Place(None, place.seal)).ok


def test_an_audit_log_that_cannot_be_read_or_written(tmp_path, monkeypatch):
    place = Place(tmp_path / "audit.jsonl", tmp_path / "audit.seal")
    AuditLog(*place)(SignedIn(address="x"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be written" in data.audit(place).detail
    place.path.unlink()
    place.path.mkdir()
    assert not data.audit(place).ok


def test_a_port_that_somebody_else_has():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        check = network.port("127.0.0.1", number)
    assert not check.ok
    assert check.detail == f"another program listens on 127.0.0.1:{number}"
    assert f"ss -ltnp 'sport = :{number}'" in check.repair


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EACCES, "for root alone"), (errno.EADDRNOTAVAIL, "assign")]
)
def test_a_port_that_cannot_be_had(monkeypatch, number, words):
    class Closed(socket.socket):
        def bind(self, _address):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Closed)
    check = network.port("127.0.0.1", 80)
    assert not check.ok
    assert words in check.detail
    assert check.repair


def test_an_address_that_is_none():
    check = network.port("no.such.host.invalid", 8080)
    assert not check.ok
    assert "[server] listen" in check.repair


def address(path, uid):
    principal = Principal(name="ada", uid=uid, home="/home/ada")
    return RunnerAddress(socket=str(path), uid=uid, principal=principal)


def test_a_runner_that_is_not_there_or_somebody_elses(tmp_path):
    path = tmp_path / "runner.sock"
    check = network.runner_socket(address(path, os.getuid()))
    assert "does not exist" in check.detail
    assert "systemctl enable --now oqto-runner@ada.socket" in check.repair
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert "nobody answers" in network.runner_socket(address(path, os.getuid())).detail
        listener.listen()
        assert network.runner_socket(address(path, os.getuid())).ok
        if os.getuid() != 0:  # root may answer for everybody
            assert f"uid {os.getuid()} answers" in network.runner_socket(address(path, 12345)).detail


def test_the_command_tells_each_line_with_its_repair_and_fails(machine, monkeypatch):
    (machine / ".local/share/oqto").mkdir(parents=True)
    (machine / ".local/share/oqto").chmod(0o755)
    run = CliRunner().invoke(root, ["doctor"])
    assert run.exit_code == 1
    assert f"FAILING data directory: {machine}/.local/share/oqto is open to others (mode 755)" in run.output
    assert f"→ chmod 700 {machine}/.local/share/oqto" in run.output
    run = CliRunner().invoke(root, ["doctor", "--json"])
    assert run.exit_code == 1
    found = {check["name"]: check for check in json.loads(run.output)}
    assert found["data directory"]["ok"] is False
    assert found["data directory"]["repair"].startswith("chmod 700")


def test_a_server_that_answers_with_a_problem_is_a_failing_line(machine, monkeypatch):
    def refuse(*_):
        raise OqtoError("the database is locked")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(machine / "admin.sock"))
    monkeypatch.setattr("oqto_platform.cli.doctor.call", refuse)
    run = CliRunner().invoke(root, ["doctor"])
    assert run.exit_code == 1
    assert "FAILING health of the server: the database is locked" in run.output
