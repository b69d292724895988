"""Policy files on disk: where they are read, whose they have to be, and what is not a policy file."""

from __future__ import annotations

import os
import socket
import stat

import pytest
from oqto_plugin_sandbox.policy.load import Owner, load

from oqto_platform.errors import ConfigError


@pytest.fixture
def machine(account, tmp_path):
    home, workspace = tmp_path / "home", tmp_path / "home/ws"
    (home / ".config/oqto").mkdir(parents=True)
    (workspace / ".oqto").mkdir(parents=True)
    owner = Owner(
        home=str(home), uid=os.getuid(), system_files=(str(tmp_path / "etc/oqto.toml"), str(tmp_path / "etc/octo.toml")),
        system_uid=os.getuid(), is_team=False,
    )  # fmt: skip
    (tmp_path / "etc").mkdir()
    return owner, tmp_path


def test_without_any_file_development_holds(machine):
    owner, root = machine
    policy = load(owner, f"{root}/home/ws")
    assert (policy.profile, policy.enabled, policy.layers) == ("development", True, ())


def test_the_user_file_is_the_base_when_there_is_no_system_file(machine):
    owner, root = machine
    (root / "home/.config/oqto/sandbox.toml").write_text("enabled = false")
    assert not load(owner, f"{root}/home/ws").enabled


def test_below_a_system_file_the_user_file_only_restricts(machine):
    owner, root = machine
    (root / "etc/oqto.toml").write_text('profile = "strict"')
    (root / "home/.config/oqto/sandbox.toml").write_text(
        'enabled = false\nhome = "rw"\n[network]\nmode = "open"'
    )
    policy = load(owner, f"{root}/home/ws")
    assert (policy.enabled, policy.home, policy.network.mode) == (True, "private", "isolated")


def test_both_system_files_restrict(machine):
    owner, root = machine
    (root / "etc/oqto.toml").write_text('deny_read = ["~/a"]')
    (root / "etc/octo.toml").write_text("readonly_workspace = true")
    policy = load(owner, f"{root}/home/ws")
    assert policy.readonly_workspace
    assert f"{root}/home/a" in policy.deny_read


def test_a_team_needs_the_file_of_root(machine):
    owner, root = machine
    from msgspec.structs import replace

    with pytest.raises(ConfigError, match="does not exist"):
        load(replace(owner, is_team=True), f"{root}/home/ws")


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_system_file_that_others_can_change_is_refused(machine, mode):
    owner, root = machine
    (root / "etc/oqto.toml").write_text("")
    (root / "etc/oqto.toml").chmod(mode)
    with pytest.raises(ConfigError, match="can change it"):
        load(owner, f"{root}/home/ws")


def test_a_system_file_of_somebody_else_is_refused(machine):
    owner, root = machine
    from msgspec.structs import replace

    (root / "etc/oqto.toml").write_text("")
    with pytest.raises(ConfigError, match="can change it"):
        load(replace(owner, system_uid=os.getuid() + 1), f"{root}/home/ws")


def _link(path):
    path.symlink_to("/etc/hostname")


def _special(path):
    if os.getuid() == 0:
        os.mknod(path, 0o644 | stat.S_IFCHR, os.makedev(1, 5))  # endless zeros
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: _link(folder / "sandbox.toml"),
        lambda folder: os.mkfifo(folder / "sandbox.toml"),
        lambda folder: (folder / "sandbox.toml").mkdir(),
        lambda folder: (folder / "sandbox.toml").write_bytes(b"a = 1\n" * 2**21),
        lambda folder: (folder / "sandbox.toml").write_bytes(b"\xff\xfe\x00"),
        lambda folder: (folder.rmdir(), folder.symlink_to("/etc/oqto")),
        lambda folder: (folder.rmdir(), folder.write_text("")),
        lambda folder: _special(folder / "sandbox.toml"),
    ],
    ids=[
        "link",
        "fifo",
        "folder",
        "12 MB",
        "no text",
        "linked folder",
        "file for folder",
        "device or socket",
    ],
)
def test_a_workspace_file_that_is_something_else_is_refused(machine, make):
    owner, root = machine
    make(root / "home/ws/.oqto")
    with pytest.raises(ConfigError, match=r"sandbox\.toml"):
        load(owner, f"{root}/home/ws")


def test_a_workspace_file_that_cannot_be_read_is_refused_not_ignored(machine):
    owner, root = machine
    file = root / "home/ws/.oqto/sandbox.toml"
    file.write_text("readonly_workspace = true")
    for closed in (file, file.parent):
        closed.chmod(0)
        if os.getuid() == 0:
            assert load(owner, f"{root}/home/ws").readonly_workspace, "root reads it all the same"
        else:
            with pytest.raises(ConfigError, match=r"sandbox\.toml.*ermission"):
                load(owner, f"{root}/home/ws")
        closed.chmod(0o700)
