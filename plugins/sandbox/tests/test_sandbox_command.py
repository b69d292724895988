"""The command `oqto-sandbox`, as a person or a script calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from oqto_plugin_sandbox.__main__ import main
from waiting import until

pytestmark = pytest.mark.real


def command(*words, cwd, timeout=60, **options):
    argv = [sys.executable, "-m", "oqto_plugin_sandbox", *words]
    return subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False, **options
    )


def test_run_passes_everything_through(own_home):
    done = command(
        "run", "--", "/bin/sh", "-c", "cat; pwd; echo problem >&2; exit 9", cwd=own_home, input="typed\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (9, f"typed\n{own_home}\n", "problem\n")


def test_run_refuses_with_the_file_and_key(own_home):
    (own_home / ".oqto").mkdir()
    (own_home / ".oqto/sandbox.toml").write_text("\nextra_rw_bind = ['~/.ssh']")
    done = command("run", "--", "/bin/echo", "RAN", cwd=own_home)
    assert (done.returncode, done.stdout) == (125, "")
    assert f"{own_home}/.oqto/sandbox.toml:2: extra_rw_bind: would add rights" in done.stderr


def test_d16_a_file_as_input_or_output_gives_no_right_to_the_file(own_home):
    """By its descriptor it could be opened anew: to be written although it is input, to be read or emptied."""
    given, result = own_home / "given", own_home / "result"
    given.write_text("first\nsecond\n")
    result.write_text("before\n")
    (own_home / "ws").mkdir()
    attack = "for fd in 0 1 2; do echo OPENED > /proc/self/fd/$fd; stat -Lc %F /proc/self/fd/$fd; done; cat; echo said >&2"
    with given.open() as stdin, result.open("a") as stdout:
        assert stdin.buffer.raw.readline() == b"first\n"
        done = subprocess.run(
            [sys.executable, "-m", "oqto_plugin_sandbox", "run", "--", "/bin/sh", "-c", attack],
            cwd=own_home / "ws", stdin=stdin, stdout=stdout, stderr=stdout, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, os.read(stdin.fileno(), 100)) == (0, b"second\n")
    assert given.read_text() == "first\nsecond\n"
    lines = result.read_text().splitlines()
    assert (lines[0], lines.count("fifo"), lines[-1]) == ("before", 3, "said"), lines
    assert "second" in lines


def test_run_with_closed_input_and_output(own_home):
    line = f"{sys.executable} -m oqto_plugin_sandbox run -- /bin/sh -c 'cat; readlink /proc/self/fd/0 > seen' <&- >&-"
    done = subprocess.run(["/bin/sh", "-c", line], cwd=own_home, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (own_home / "seen").read_text() == "/dev/null\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("explain", ""), "'' is neither a path nor a host"),
        (("explain", "a\nb"), "is neither a path nor a host"),
        (("explain", "example.org:99999"), "'example.org:99999' is no host with a port from 1 to 65535"),
        (("explain", "example.org:https"), "is no host with a port from 1 to 65535"),
        (("explain", ":443"), "is no host with a port from 1 to 65535"),
        (("explain", "two words"), "is no host with a port from 1 to 65535"),
        (("run",), "Missing argument 'COMMAND...'"),
        (("run", "--read", "/nowhere", "--", "true"), "Path '/nowhere' does not exist"),
        (("check", "more"), "unexpected extra argument (more)"),
    ],
)
def test_what_a_person_gets_wrong_is_said(tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, words)
    assert (done.exit_code != 0, done.stdout, told in done.stderr) == (True, "", True), done.output


def test_in_a_folder_that_is_gone_the_command_says_so(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in (("run", "--", "true"), ("explain", "x"), ("check",), ("policy",)):
        done = CliRunner().invoke(main, words)
        told = "oqto-sandbox: the current folder is not there any more; enter another one\n"
        assert (done.exit_code, done.stderr) == (125, told)


def test_what_cannot_be_run_is_said_as_by_a_shell(own_home):
    script = "for it in no-such-program /; do $0 -m oqto_plugin_sandbox run -- $it; echo $?; done"
    done = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable], cwd=own_home, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert (done.stdout, "cannot run no-such-program: no such program" in done.stderr) == ("127\n126\n", True)


def test_explain_knows_hosts_by_address_and_folders_that_only_lead_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "[::1]:80 can be reached" in CliRunner().invoke(main, ("explain", "[::1]:80")).stdout
    root = CliRunner().invoke(main, ("explain", "/")).stdout
    assert root == "/ can be read, not written. Rule: leads to something visible\n"


def test_run_tells_what_the_network_denied(own_home):
    (own_home / ".oqto").mkdir()
    (own_home / ".oqto/sandbox.toml").write_text('[network]\nmode = "proxy"\nallow_domains = ["ok.test"]\n')
    script = (
        "import urllib.request as u\ntry: u.urlopen('http://evil.test/')\nexcept OSError as e: print(e.code)"
    )
    done = command("run", "--", "/usr/bin/python3", "-c", script, cwd=own_home)
    assert done.stdout == "403\n"
    assert "network denied: evil.test:80: network.allow_domains does not list it" in done.stderr


RUN = [sys.executable, "-m", "oqto_plugin_sandbox", "run", "--", "/bin/bash", "-c"]
FLUSHES = "trap 'echo flushed; exit 5' TERM; echo ready; while :; do sleep 0.05; done"


AT_HOME = """
import os
from oqto_plugin_sandbox import __main__ as command
from oqto_plugin_sandbox.policy.load import Owner
command.owner = lambda: Owner(home=os.path.dirname(os.getcwd()), uid=os.getuid())
command.main()
"""
"""`oqto-sandbox` of somebody whose home is the folder above."""


@pytest.mark.parametrize("switch", ["true", "false"])
def test_run_passes_signals_on(own_home, switch):
    (own_home / ".config/oqto").mkdir(parents=True)
    (own_home / ".config/oqto/sandbox.toml").write_text(f"enabled = {switch}")
    (work := own_home / "work").mkdir()
    argv = [sys.executable, "-c", AT_HOME, *RUN[3:], FLUSHES]
    with subprocess.Popen(argv, cwd=work, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30)[0] == "flushed\n"
        assert process.returncode == 5


HALTED = """
import asyncio, os, signal
from oqto_plugin_sandbox.__main__ import main
made = asyncio.create_subprocess_exec
async def and_halted(*argv, **options):
    process = await made(*argv, **options)
    while not os.path.exists("ready"):
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.1)
    return process
asyncio.create_subprocess_exec = and_halted
main()
"""
"""`oqto-sandbox` on a machine that lets the command go ahead and has no time for whoever started it."""


def test_a_signal_for_a_command_that_was_quicker_than_its_starter_reaches_it(own_home):
    argv = [
        sys.executable,
        "-c",
        HALTED,
        *RUN[3:],
        f"{FLUSHES.partition('echo ready')[0]} >ready; sleep 30 & wait",
    ]
    done = subprocess.run(argv, cwd=own_home, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("flushed\n", 5), done.stderr


@pytest.mark.parametrize("after_s", [0.05 * step for step in range(1, 17)])
def test_a_signal_while_it_starts_ends_it_or_reaches_the_command(own_home, after_s):
    """At many moments of a start, whatever they are on this machine: the signal is never lost."""
    with subprocess.Popen([*RUN, FLUSHES], cwd=own_home, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(after_s)
        process.send_signal(signal.SIGTERM)
        out, code = process.communicate(timeout=30)[0], process.returncode
    if code in (-signal.SIGTERM, 128 + signal.SIGTERM):
        assert out == ""
    else:
        assert (code, out.removeprefix("ready\n")) == (5, "flushed\n")


def test_d05_nothing_outlives_a_runner_that_was_killed(own_home, running):
    marker = f"97{os.getpid()}{time.monotonic_ns() % 10_000}"
    script = f"setsid sleep {marker} & echo ready; sleep {marker}"
    with subprocess.Popen([*RUN, script], cwd=own_home, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.kill()
    until(lambda: not running(f"sleep\0{marker}"))


def test_explain_names_rule_and_place(own_home):
    (own_home / ".oqto").mkdir()
    (own_home / ".oqto/sandbox.toml").write_text(
        'deny_read = [".env"]\n[network]\nmode = "proxy"\nallow_domains = ["ok.test"]\n'
    )
    (own_home / ".env").write_text("x")
    file = f"{own_home}/.oqto/sandbox.toml"
    hidden = json.loads(command("explain", "--json", ".env", cwd=own_home).stdout)
    assert (hidden["verdict"], hidden["rule"], hidden["stated"]) == (
        "hidden",
        f"deny_read: {own_home}/.env",
        f"{file}:1",
    )
    assert json.loads(command("explain", "--json", "./other", cwd=own_home).stdout)["verdict"] == "rw"
    assert json.loads(command("explain", "--json", "~/.ssh/id", cwd=own_home).stdout)["rule"].startswith(
        "deny_read: "
    )
    assert (
        command("explain", "evil.test", cwd=own_home).stdout
        == f"evil.test cannot be reached. Rule: network.allow_domains does not list it ({file}:4)\n"
    )
    assert "can be reached" in command("explain", "ok.test", cwd=own_home).stdout


def test_check_tells_each_part(own_home):
    done = command("check", "--json", cwd=own_home)
    assert done.returncode == 0, done.stdout
    assert {line["name"] for line in json.loads(done.stdout)} >= {
        "bubblewrap",
        "user namespaces",
        "system-call filter",
        "policy",
    }
    (own_home / ".oqto").mkdir()
    (own_home / ".oqto/sandbox.toml").write_text("nonsense = 1")
    bad = command("check", cwd=own_home)
    assert bad.returncode == 1
    assert "FAIL  policy" in bad.stdout
    assert "nonsense: unknown key" in bad.stdout


def test_pi_runs_well_inside(own_home):
    tools = Path(__file__).parents[3] / ".tools"
    pi, node = tools / "pi/node_modules/.bin/pi", tools / "node/bin/node"
    if not pi.exists() or not node.exists():
        pytest.skip("pi is not installed in .tools")
    real = node.resolve()
    readable = [str(tools), str(real.parent.parent)]
    done = command(
        "run",
        *(w for path in readable for w in ("--read", path)),
        "--",
        str(real),
        str(pi),
        "--version",
        cwd=own_home,
    )
    assert (done.returncode, done.stdout.strip().count(".")) == (0, 2), done.stderr


def test_policy_prints_what_holds_here(own_home):
    (own_home / ".oqto").mkdir()
    (own_home / ".oqto/sandbox.toml").write_text('deny_read = [".env"]\n[limits]\npids = 7\n')
    found = json.loads(command("policy", cwd=own_home).stdout)
    assert found["limits"]["pids"] == 7
    assert f"{own_home}/.env" in found["deny_read"]
    assert found["sources"]["limits.pids"] == f"{own_home}/.oqto/sandbox.toml:3"
    (own_home / ".oqto/sandbox.toml").write_text("[limits]\npids = 'many'\n")
    bad = command("policy", cwd=own_home)
    assert (bad.returncode, bad.stdout) == (125, "")
    assert f"{own_home}/.oqto/sandbox.toml:2: limits.pids: has to be a whole number" in bad.stderr


@pytest.fixture
def system_file(tmp_path, monkeypatch):
    from oqto_plugin_sandbox import __main__ as command_line

    file = tmp_path / "etc/oqto/sandbox.toml"
    monkeypatch.setattr(command_line, "SYSTEM_FILES", (str(file),))
    return file, lambda: CliRunner().invoke(command_line.main, ["init"])


def test_init_writes_a_policy_that_holds_and_never_overwrites(system_file, tmp_path):
    from oqto_plugin_sandbox.policy.load import Owner, load

    file, init = system_file
    assert init().exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o644
    who = Owner(
        home=str(tmp_path), uid=os.getuid(), system_files=(str(file),), system_uid=os.getuid(), is_team=True
    )
    (tmp_path / "ws").mkdir()
    policy = load(who, str(tmp_path / "ws"))
    assert (policy.enabled, policy.profile, policy.network.mode) == (True, "development", "proxy")
    file.write_text("profile = 'strict'\n")
    again = init()
    assert (again.exit_code, "exists already" in again.output) == (1, True)
    assert file.read_text() == "profile = 'strict'\n"


def test_init_without_the_right_to_write_names_the_repair(system_file, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    file, init = system_file
    monkeypatch.setattr(type(file), "mkdir", refused)
    done = init()
    assert (done.exit_code, "sudo oqto-sandbox init" in done.output) == (1, True)
