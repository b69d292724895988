"""The files of `deploy/`: units that systemd accepts, programs and options that exist, settings that fit together."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = ("oqto.service", "oqto-runner@.service", "oqto-runner@.socket", "oqto-runner.service")
PREFIX = "/opt/oqto/bin"


class Unit(configparser.RawConfigParser):
    """Reads a unit; of a repeated key all values, joined by newlines."""

    def __init__(self, text: str) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",))
        self.optionxform = str  # type: ignore[assignment, method-assign]
        self.read_string(text)
        self.text = text

    def all(self, key: str) -> list[str]:
        return re.findall(rf"^{key}=(.*)$", self.text, re.MULTILINE)


@pytest.fixture
def units(repository):
    folder = repository / "deploy" / "systemd"
    return {name: Unit((folder / name).read_text()) for name in UNITS}


def programs(unit: Unit) -> list[list[str]]:
    """The commands that a unit starts, with what a shell in between would start."""
    commands = []
    for line in [*unit.all("ExecStart"), *unit.all("ExecReload")]:
        words = shlex.split(line)
        commands.append(
            shlex.split(words[2].removeprefix("exec ")) if words[:2] == ["/bin/sh", "-c"] else words
        )
    return commands


def test_there_is_no_other_unit(repository):
    assert sorted(path.name for path in (repository / "deploy" / "systemd").iterdir()) == sorted(UNITS)


@pytest.mark.parametrize("name", ["oqto-runner@.service", "oqto-runner.service"])
def test_options_of_the_runner_exist(units, name):
    (words,) = programs(units[name])
    assert words[1:4] == ["-I", "-m", "oqto_runner"]
    options = [word for word in words[4:] if word.startswith("--")]
    help_text = subprocess.run(
        [sys.executable, "-I", "-m", "oqto_runner", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert options
    assert all(option in help_text for option in options)


def test_the_server_is_started_by_the_documented_command(units):
    words = programs(units["oqto.service"])[0]
    assert words == [f"{PREFIX}/granian", "oqto_platform.app"]
    assert Path(sys.executable).with_name("granian").exists()


def test_variables_of_granian_exist(units):
    known = subprocess.run(
        [Path(sys.executable).with_name("granian"), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "300"},
    ).stdout
    set_by_unit = dict(line.split("=", 1) for line in units["oqto.service"].all("Environment"))
    assert set_by_unit["GRANIAN_INTERFACE"] == "asgi"
    assert [name for name in set_by_unit if name.startswith("GRANIAN_") and name not in known] == []


def test_the_server_leaves_its_daemons_and_its_users_homes_alone(units):
    service = units["oqto.service"]["Service"]
    assert service["KillMode"] == "process"
    assert service["WorkingDirectory"] == "/"
    assert service["ProtectHome"] == "yes"
    assert int(service["TimeoutStopSec"]) > 20


def test_the_runner_may_make_groups_and_sandboxes(units):
    for name in ("oqto-runner@.service", "oqto-runner.service"):
        service = units[name]["Service"]
        assert service["Type"] == "notify"
        assert service["Delegate"] == "yes"
        assert service["KillMode"] == "mixed"
        assert not {"NoNewPrivileges", "RestrictNamespaces", "PrivateUsers"} & set(service)


def test_the_core_finds_the_socket_that_systemd_makes(units, documents):
    listen = units["oqto-runner@.socket"]["Socket"]["ListenStream"]
    page = documents.pages["docs/how-to/run-under-systemd.md"]
    assert f'runner_socket_pattern = "{listen.replace("%i", "{user}")}"' in page


def test_folders_of_units_are_made(repository, units):
    made = {
        line.split()[1]
        for line in (repository / "deploy/tmpfiles.d/oqto.conf").read_text().splitlines()
        if line[:1] == "d"
    }
    assert set(units["oqto.service"]["Service"]["ReadWritePaths"].split()) <= made
    assert str(Path(units["oqto-runner@.socket"]["Socket"]["ListenStream"]).parents[1]) in made


def test_the_socket_folder_tells_the_sandbox_that_several_people_are_served(repository):
    from oqto_plugin_sandbox.policy.load import TEAM_MARK

    assert TEAM_MARK in (repository / "deploy/tmpfiles.d/oqto.conf").read_text()


def test_the_user_of_the_units_is_made(repository, units):
    line = (repository / "deploy/sysusers.d/oqto.conf").read_text().splitlines()[-1]
    assert line.split()[1] == units["oqto.service"]["Service"]["User"] == "oqto"


def test_systemd_accepts_the_units(repository, tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    here = str(Path(sys.executable).parent)
    for path in (repository / "deploy" / "systemd").iterdir():
        text = path.read_text().replace(PREFIX, here).replace("%h/oqto/.venv/bin", here)
        (tmp_path / path.name.replace("@.", "@root.")).write_text(text)
    system = [
        tmp_path / name for name in ("oqto.service", "oqto-runner@root.service", "oqto-runner@root.socket")
    ]
    checked = subprocess.run(
        [program, "verify", "--man=no", *map(str, system)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert str(tmp_path) not in checked.stderr
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    user = subprocess.run(
        [program, "--user", "verify", "--man=no", str(tmp_path / "oqto-runner.service")],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    assert user.returncode == 0, user.stderr


def test_systemd_accepts_the_user(repository):
    program = shutil.which("systemd-sysusers")
    if program is None:
        pytest.skip("systemd-sysusers is not installed")
    file = str(repository / "deploy" / "sysusers.d" / "oqto.conf")
    done = subprocess.run([program, "--dry-run", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nobody_but_the_core_reads_its_home(repository):
    lines = [line.split() for line in (repository / "deploy/tmpfiles.d/oqto.conf").read_text().splitlines()]
    modes = {line[1]: line[2] for line in lines if line[0] == "d"}
    assert modes["/var/lib/oqto"] == "0700"
    assert modes["/etc/oqto"] == "0755", "runners read /etc/oqto/sandbox.toml"
