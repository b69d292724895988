"""Changing `config.toml` by program, and showing what holds."""

from __future__ import annotations

import json
import stat
import tomllib

import pytest
from click.testing import CliRunner

from oqto_platform.cli import root
from oqto_platform.config import edit
from oqto_platform.config.edit import edited
from oqto_platform.errors import ConfigError, NotFound

TEXT = """# my server
[server]
listen = "127.0.0.1:1"   # only me

# nothing below this line
[auth]
jwt_secret = "CANARY-CANARY-CANARY-CANARY-CANARY"
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


@pytest.fixture
def oqtoctl(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("OQTO_ADMIN_SOCKET", str(path.parent / "none.sock"))

    def run(*arguments):
        return CliRunner().invoke(root, ["--config", str(path), *arguments])

    return run


def test_comments_order_and_mode_are_kept(path):
    with edited(path) as document:
        document["server"]["max_upload_size_mb"] = 5
    text = path.read_text()
    assert tomllib.loads(text)["server"] == {"listen": "127.0.0.1:1", "max_upload_size_mb": 5}
    assert "# my server\n" in text
    assert "# only me" in text
    assert text.index("[server]") < text.index("# nothing below") < text.index("[auth]")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_failing_edit_leaves_the_file_alone(path):
    with pytest.raises(ZeroDivisionError), edited(path) as document:
        document["server"]["listen"] = 1 / 0
    assert path.read_text() == TEXT
    assert list(path.parent.iterdir()) == [path]


def test_readers_see_the_old_file_or_the_new_one(path, monkeypatch):
    """The new text is whole and on disk under another name before it takes the place of the old."""
    seen = []
    fsync = edit.os.fsync

    def watch(handle):
        seen.append(path.read_text())
        fsync(handle)

    monkeypatch.setattr(edit.os, "fsync", watch)
    with edited(path) as document:
        document["server"]["listen"] = "127.0.0.1:2"
    assert seen == [TEXT]
    assert "127.0.0.1:2" in path.read_text()
    assert list(path.parent.iterdir()) == [path]


def test_a_new_file_is_for_its_owner_only(tmp_path):
    path = tmp_path / "new" / "config.toml"
    with edited(path) as document:
        document["plugins"] = {"disabled": ["x"]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_link_stays_a_link(path, tmp_path):
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    with edited(link) as document:
        document["server"]["listen"] = "127.0.0.1:2"
    assert link.is_symlink()
    assert "127.0.0.1:2" in path.read_text()


def test_a_broken_file_is_not_overwritten(path):
    path.write_text("[server\n")
    with pytest.raises(ConfigError, match="not valid TOML"), edited(path):
        pass
    assert path.read_text() == "[server\n"


def test_oqtoctl_disables_and_enables_a_plugin_and_keeps_the_comments(path, oqtoctl):
    assert oqtoctl("plugins", "disable", "sandbox").output == "sandbox is off from the next start on\n"
    assert tomllib.loads(path.read_text())["plugins"] == {"disabled": ["sandbox"]}
    assert oqtoctl("plugins", "disable", "sandbox").exit_code == 0
    assert tomllib.loads(path.read_text())["plugins"] == {"disabled": ["sandbox"]}
    oqtoctl("plugins", "enable", "sandbox")
    assert tomllib.loads(path.read_text())["plugins"] == {"disabled": []}
    assert "# only me" in path.read_text()


def test_oqtoctl_disables_no_plugin_that_is_not_there(path, oqtoctl):
    result = oqtoctl("plugins", "disable", "sandbix")
    assert isinstance(result.exception, NotFound)
    assert "no plugin 'sandbix' is installed; there are: " in result.exception.detail
    assert path.read_text() == TEXT


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_oqtoctl_shows_what_holds_but_no_secret(oqtoctl, flags):
    result = oqtoctl(*flags, "config", "show")
    assert result.exit_code == 0, result.exception
    assert "CANARY" not in result.output
    values = json.loads(result.output) if flags else tomllib.loads(result.output)
    assert values["auth"]["jwt_secret"] == "***"
    assert values["server"]["listen"] == "127.0.0.1:1"
    assert values["eavs"]["master_key"] == ""


def test_oqtoctl_checks_the_file(path, oqtoctl):
    assert oqtoctl("config", "check").output == f"{path}: valid\n"
    assert oqtoctl("config", "path").output == f"{path}\n"
    path.write_text("[server]\nlissten = ''\n")
    result = oqtoctl("config", "check")
    assert isinstance(result.exception, ConfigError)
    assert "did you mean 'listen'?" in result.exception.detail
