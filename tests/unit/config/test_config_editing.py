"""Changing `config.toml` by program."""

from __future__ import annotations

import stat
import tomllib

import pytest

from oqto_platform.config import edit
from oqto_platform.config.edit import edited
from oqto_platform.config.sections import CORE
from oqto_platform.errors import ConfigError, Conflict

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
    assert seen == [TEXT, TEXT]
    assert "127.0.0.1:2" in path.read_text()
    assert sorted(path.parent.iterdir()) == [path, path.with_name("config.toml.bak")]


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


def change(path, changes, **options):
    return edit.change(path, changes, kinds=CORE, check=lambda _text: None, **options)


@pytest.mark.parametrize(
    ("changes", "tables"),
    [
        ({"server.listen": "127.0.0.1:2"}, {"server": {"listen": "127.0.0.1:2"}}),
        ({"server.listen": None}, {"server": {}}),
        ({"server.max_upload_size_mb": None}, {"server": {"listen": "127.0.0.1:1"}}),
        (
            {"local.linux_users.shell": "/bin/bash"},
            {"server": {"listen": "127.0.0.1:1"}, "local": {"linux_users": {"shell": "/bin/bash"}}},
        ),
        (
            {"auth.allowed_origins": ["https://a.example"], "server.max_upload_size_mb": 3},
            {
                "server": {"listen": "127.0.0.1:1", "max_upload_size_mb": 3},
                "auth": {"allowed_origins": ["https://a.example"]},
            },
        ),
    ],
)
def test_a_change_touches_the_keys_it_names_and_no_other_letter(path, changes, tables):
    assert change(path, changes) == (path.read_text() != TEXT)
    told = tomllib.loads(path.read_text())
    told["auth"].pop("jwt_secret")
    assert told == {"auth": {}} | tables
    assert [line for line in TEXT.splitlines() if "#" in line and "listen" not in line] == [
        line for line in path.read_text().splitlines() if "#" in line and "listen" not in line
    ]


def test_the_old_text_is_kept_beside_the_new(path):
    change(path, {"server.listen": "127.0.0.1:2"})
    backup = path.with_name("config.toml.bak")
    assert backup.read_text() == TEXT
    assert stat.S_IMODE(backup.stat().st_mode) == 0o640


def test_a_change_that_the_check_refuses_is_not_written(path):
    def refuse(_text):
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        edit.change(path, {"server.listen": "x"}, kinds=CORE, check=refuse)
    assert path.read_text() == TEXT
    assert list(path.parent.iterdir()) == [path]


def test_of_two_who_change_the_file_the_second_is_told_what_the_first_did_without_secrets(path):
    seen = edit.revision(TEXT)
    assert change(path, {"server.listen": "127.0.0.1:2"}, seen=seen)
    after_the_first = path.read_text()
    with pytest.raises(Conflict) as refused:
        change(path, {"server.listen": "127.0.0.1:3", "auth.jwt_secret": "CANARY-2" * 5}, seen=seen)
    diff = refused.value.extra["diff"]
    assert '-listen = "127.0.0.1:2"   # only me' in diff
    assert '+listen = "127.0.0.1:3"   # only me' in diff
    assert "CANARY" not in diff
    assert path.read_text() == after_the_first


@pytest.mark.parametrize("name", ["server", "", "server.", ".listen", "server..listen"])
def test_what_is_no_key_is_refused(path, name):
    with pytest.raises(ConfigError, match=r"is no key; the form is section\.key"):
        change(path, {name: 1})


def test_a_value_is_not_turned_into_a_table(path):
    with pytest.raises(ConfigError, match=r"server\.listen\.host: listen is a value, not a table"):
        change(path, {"server.listen.host": "x"})


@pytest.mark.parametrize(
    ("name", "value", "mode"),
    [
        ("auth.jwt_secret", "CANARY", 0o640),
        ("eavs.providers.a.api_key", "CANARY", 0o640),
        ("auth.jwt_secret", "env:SECRET", 0o644),
        ("server.listen", "127.0.0.1:2", 0o644),
    ],
)
def test_a_file_that_gets_a_secret_is_closed_to_others_with_its_backup(path, name, value, mode):
    path.chmod(0o644)
    edit.change(path, {name: value}, kinds=CORE, check=lambda text: None)
    found = [stat.S_IMODE(file.stat().st_mode) for file in (path, path.with_name("config.toml.bak"))]
    assert found == [mode, mode]
