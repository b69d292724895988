"""Files of the older reference: `listen`, `[backend] mode`, `socket_dir`, and running without containers."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from oqto_platform import config
from oqto_platform.cli.serve import _listen
from oqto_platform.config.sections import Backend, Local
from oqto_platform.runners.registry import Registry
from oqto_platform.types import Account, AccountId

OLDER = """
[server]
listen = "0.0.0.0:3000"

[backend]
mode = "local"  # or "container" or "auto"

[local]
# Socket directory for agent communication
socket_dir = "/run/octo"
"""
HOME = {"HOME": "/home/ada"}


def test_the_file_of_the_older_reference_is_taken_as_it_stands(write, monkeypatch, tmp_path):
    path = write(OLDER)
    monkeypatch.setenv("OQTO_CONFIG", str(path))
    assert _listen("", None) == ("0.0.0.0", 3000)
    assert _listen("127.0.0.1", 4000) == ("127.0.0.1", 4000)
    settings = config.load(path, HOME)
    assert settings.section("backend", Backend).mode == "local"
    me = pwd.getpwuid(os.getuid()).pw_name
    assert socket_of(settings, tmp_path) == f"/run/octo/{me}/oqto-runner.sock"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (
            "/run/oqto/runner-sockets/{user}/oqto-runner.sock",
            "/run/oqto/runner-sockets/{me}/oqto-runner.sock",
        ),
        ("/run/user/{uid}/octo-runner.sock", "/run/user/{my_uid}/octo-runner.sock"),
        ("$XDG_RUNTIME_DIR/oqto-runner.sock", "/run/mine/oqto-runner.sock"),
    ],
)
def test_the_socket_of_a_runner_is_found_by_its_pattern(write, tmp_path, pattern, expected):
    path = write(f"[local]\nrunner_socket_pattern = '{pattern}'\nsocket_dir = '/elsewhere'\n")
    settings = config.load(path, HOME | {"XDG_RUNTIME_DIR": "/run/mine"})
    me = pwd.getpwuid(os.getuid()).pw_name
    assert socket_of(settings, tmp_path) == expected.format(me=me, my_uid=os.getuid())


@pytest.mark.parametrize(
    "text", ["", "[local]\nenabled = true\n", "[backend]\nmode = 'auto'\n[local]\nenabled = true\n"]
)
def test_agents_run_here_without_any_container_runtime(write, tmp_path, text, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = config.load(write(text), HOME)
    assert settings.section("local", Local).enabled is ("true" in text)
    assert Registry(settings, tmp_path, HOME).child is not None


def socket_of(settings, tmp_path: Path) -> str:
    return Registry(settings, tmp_path, HOME).address(Account(id=AccountId("acc_1"), name="ada")).socket
