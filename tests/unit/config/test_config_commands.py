"""`oqtoctl config` and `oqto config` on a file, without a server."""

from __future__ import annotations

import json
import re
import tomllib
from contextlib import nullcontext

import pytest
from click.testing import CliRunner

from oqto_platform import config
from oqto_platform.cli import root
from oqto_platform.cli.serve import root as oqto_root
from oqto_platform.config.example import example
from oqto_platform.config.sections import CORE
from oqto_platform.config.view import views
from oqto_platform.errors import ConfigError, Conflict, Invalid, NotFound
from oqto_platform.hooks import Hooks

TEXT = """# my server
[server]
listen = "127.0.0.1:1"   # only me

[auth]
jwt_secret = "CANARY-CANARY-CANARY-CANARY-CANARY"
"""

KINDS = CORE | Hooks.load("core").register_all("register_config")
EXAMPLE = example(KINDS).splitlines()
KEY = re.compile(r"# \w+ = ")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def oqtoctl(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("OQTO_ADMIN_SOCKET", str(path.parent / "none.sock"))

    def run(*arguments, typed=None):
        return CliRunner().invoke(root, ["--config", str(path), *arguments], input=typed)

    return run


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


def test_a_disabled_plugin_that_was_uninstalled_can_be_taken_out(path, oqtoctl):
    path.write_text(TEXT + '\n[plugins]\ndisabled = ["gone", "sandbox"]\n')
    assert oqtoctl("plugins", "enable", "gone").output == "gone is not disabled any more, and not installed\n"
    assert tomllib.loads(path.read_text())["plugins"] == {"disabled": ["sandbox"]}
    assert isinstance(oqtoctl("plugins", "enable", "gone").exception, NotFound)


def test_a_choice_of_plugins_that_cannot_be_is_refused_and_can_be_taken_back(path, oqtoctl):
    refused = oqtoctl("config", "set", "plugins.only", '["sandbix"]')
    assert "[plugins] only: no plugin 'sandbix' is installed; there are: " in str(refused.exception)
    assert path.read_text() == TEXT
    path.write_text(TEXT + '\n[plugins]\nonly = ["sandbix"]\n')
    assert oqtoctl("config", "unset", "plugins.only").exit_code == 0
    assert tomllib.loads(path.read_text()).get("plugins", {}) == {}


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_oqtoctl_shows_what_holds_but_no_secret(oqtoctl, flags):
    result = oqtoctl(*flags, "config", "show")
    assert result.exit_code == 0, result.exception
    assert "CANARY" not in result.output
    values = json.loads(result.output)["values"] if flags else tomllib.loads(result.output)
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


def test_every_value_is_shown_with_where_it_comes_from(path, oqtoctl, monkeypatch):
    path.with_name("config.work.toml").write_text("[sessions]\nidle_timeout_minutes = 7\n")
    path.write_text(f'profile = "work"\n{TEXT}')
    monkeypatch.setenv("OQTO__RUNTIME__TIMEOUT", "9")
    origins = json.loads(oqtoctl("--json", "config", "show").output)["origins"]
    assert origins["server.listen"] == str(path)
    assert origins["sessions.idle_timeout_minutes"] == str(path.with_name("config.work.toml"))
    assert origins["runtime.timeout"] == "OQTO__RUNTIME__TIMEOUT"
    assert origins["server.max_upload_size_mb"] == "default"
    text = oqtoctl("config", "show").output
    assert f'listen = "127.0.0.1:1" # {path}\n' in text
    assert "timeout = 9 # OQTO__RUNTIME__TIMEOUT\n" in text


def test_the_keys_that_wait_for_a_restart_can_be_listed(oqtoctl):
    shown = tomllib.loads(oqtoctl("config", "show", "--restart").output)
    assert "listen" in shown["server"]
    assert "max_upload_size_mb" not in shown["server"]


def test_no_secret_is_shown_however_deep_it_lies(path, oqtoctl):
    path.write_text("""
[eavs.providers.mine]
kind = "openai-compatible"
base_url = "http://127.0.0.1:9/v1"
api_key = "CANARY-1"
headers = { "X-Key" = "CANARY-2" }
[auth]
jwt_secret = "CANARY-3-of-more-than-32-characters-"
""")
    for arguments in (("config", "show"), ("--json", "config", "show")):
        result = oqtoctl(*arguments)
        assert result.exit_code == 0, result.exception
        assert "CANARY" not in result.output
        assert "***" in result.output


def test_oqto_config_is_the_same_without_a_server(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("OQTO_CONFIG", str(path))
    assert CliRunner().invoke(oqto_root, ["config", "path"]).output == f"{path}\n"
    shown = CliRunner().invoke(oqto_root, ["config", "show"]).output
    assert tomllib.loads(shown)["server"]["listen"] == "127.0.0.1:1"
    assert "config" in CliRunner().invoke(oqto_root, ["--help"]).output


def test_set_writes_a_checked_value_and_says_when_it_holds(path, oqtoctl):
    assert oqtoctl("config", "set", "server.max_upload_size_mb", "5").output == (
        f"{path}: written; takes effect now\n"
    )
    assert oqtoctl("config", "set", "server.listen", "127.0.0.1:2").output == (
        f"{path}: written; takes effect at the next start\n"
    )
    assert oqtoctl("config", "set", "auth.allowed_origins", '["https://a.example"]').exit_code == 0
    told = tomllib.loads(path.read_text())
    assert told["server"] == {"listen": "127.0.0.1:2", "max_upload_size_mb": 5}
    assert told["auth"]["allowed_origins"] == ["https://a.example"]
    assert "   # only me" in path.read_text()
    assert oqtoctl("config", "unset", "server.max_upload_size_mb").exit_code == 0
    assert tomllib.loads(path.read_text())["server"] == {"listen": "127.0.0.1:2"}
    assert oqtoctl("config", "unset", "server.max_upload_size_mb").output == f"{path}: nothing to change\n"


def test_to_unset_what_is_no_key_is_a_mistake_unless_the_file_has_it(path, oqtoctl):
    result = oqtoctl("config", "unset", "server.lissten")
    assert result.exception.detail == "'server.lissten': no such key, did you mean 'server.listen'?"
    path.write_text(TEXT.replace("listen", "lissten"))
    assert oqtoctl("config", "unset", "server.lissten").exit_code == 0
    assert "lissten" not in path.read_text()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "server.max_upload_size_mb",
            "many",
            "[server] max_upload_size_mb: expected a whole number, got text",
        ),
        ("server.max_upload_size_mb", "0", "[server] max_upload_size_mb: expected a whole number >= 1"),
        ("server.listen", "nowhere", "[server] listen: 'nowhere' is not host:port, such as 127.0.0.1:8080"),
        ("server.lissten", "x", "[server] unknown key 'lissten', did you mean 'listen'?"),
        ("sever.listen", "x", "'sever.listen': no such key, did you mean 'server.listen'?"),
        ("container.runtime", "docker", "this version has no support for container sessions yet"),
    ],
)
def test_set_writes_nothing_that_a_start_would_refuse(path, oqtoctl, key, value, words):
    result = oqtoctl("config", "set", key, value)
    assert isinstance(result.exception, ConfigError | Invalid)
    assert words in result.exception.detail
    assert path.read_text() == TEXT


def test_a_secret_does_not_go_over_the_command_line(path, oqtoctl, monkeypatch):
    result = oqtoctl("config", "set", "auth.jwt_secret", "x" * 40)
    assert isinstance(result.exception, Invalid)
    assert "give env:NAME, file:PATH or -" in result.exception.detail
    assert oqtoctl("config", "set", "auth.jwt_secret", "-", typed="y" * 40 + "\n").exit_code == 0
    assert tomllib.loads(path.read_text())["auth"]["jwt_secret"] == "y" * 40
    monkeypatch.setenv("MY_SECRET", "z" * 40)
    assert oqtoctl("config", "set", "auth.jwt_secret", "env:MY_SECRET").exit_code == 0
    assert tomllib.loads(path.read_text())["auth"]["jwt_secret"] == "env:MY_SECRET"


def test_whoever_sets_a_key_that_a_variable_wins_over_is_told(oqtoctl, monkeypatch):
    monkeypatch.setenv("OQTO__RUNTIME__TIMEOUT", "9")
    assert "but OQTO__RUNTIME__TIMEOUT sets runtime.timeout too, and wins" in (
        oqtoctl("config", "set", "runtime.timeout", "8").output
    )


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """An editor that replaces `old` by `new`."""

    def editor(old, new):
        script = tmp_path / "editor"
        script.write_text(f'#!/bin/sh\nsed -i "s/{old}/{new}/" "$1"\n')
        script.chmod(0o755)
        monkeypatch.setenv("VISUAL", str(script))

    return editor


def test_an_edit_is_checked_before_it_is_taken(path, oqtoctl, editor):
    editor("listen", "lissten")
    result = oqtoctl("config", "edit", typed="n\n")
    assert "did you mean 'listen'?" in result.output
    assert path.read_text() == TEXT
    kept = path.with_name("config.toml.mine")
    assert f"{path} is as it was; your text is in {kept}: diff {path} {kept}" in result.exception.detail
    assert kept.read_text() == TEXT.replace("listen", "lissten")
    editor("127.0.0.1:1", "127.0.0.1:2")
    assert oqtoctl("config", "edit").output == f"{path}: written\n"
    assert path.read_text() == TEXT.replace("127.0.0.1:1", "127.0.0.1:2")


def test_an_edit_does_not_overwrite_what_somebody_else_saved_meanwhile(path, oqtoctl, tmp_path, monkeypatch):
    script = tmp_path / "editor"
    script.write_text(f'#!/bin/sh\necho "# theirs" >> {path}\necho "# mine" >> "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    result = oqtoctl("config", "edit")
    assert isinstance(result.exception, Conflict)
    kept = path.with_name("config.toml.mine")
    assert f"your text is in {kept}: diff {path} {kept}" in result.exception.detail
    assert path.read_text() == f"{TEXT}# theirs\n"
    assert kept.read_text() == f"{TEXT}# mine\n"


def test_the_example_file_has_every_key_and_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OQTO_CONFIG", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    target = tmp_path / ".config" / "oqto" / "config.toml"
    result = CliRunner().invoke(oqto_root, ["config", "init"])
    assert result.output == f"{target}: written; every key is there, commented out\n"
    text = target.read_text()
    defaults, written = (config.load(path, {"HOME": "/h"}, kinds=KINDS) for path in (None, target))
    assert list(views(KINDS, defaults, defaults)) == list(views(KINDS, written, written))
    for key in views(KINDS, defaults, defaults):
        assert f"\n# {key.name.rpartition('.')[2]} = " in text, key.name
    target.write_text("# mine\n")
    refused = CliRunner().invoke(oqto_root, ["config", "init"])
    assert isinstance(refused.exception, Conflict)
    assert target.read_text() == "# mine\n"
    assert CliRunner().invoke(oqto_root, ["config", "init", "--force"]).exit_code == 0
    assert target.read_text() == text
    assert target.with_name("config.toml.bak").read_text() == "# mine\n"


def test_a_key_of_the_example_may_be_uncommented_as_it_stands(write):
    for at in (at for at, line in enumerate(EXAMPLE) if KEY.match(line)):
        path = write("\n".join([*EXAMPLE[:at], EXAMPLE[at].removeprefix("# "), *EXAMPLE[at + 1 :]]))
        asks_for_a_feature = "not in this version" in EXAMPLE[at - 1] and "unset" in EXAMPLE[at - 1]
        with pytest.raises(ConfigError, match="no support") if asks_for_a_feature else nullcontext():
            config.load(path, {"HOME": "/h"}, kinds=KINDS)


def test_the_schema_knows_what_the_file_may_say(oqtoctl):
    schema = json.loads(oqtoctl("config", "schema").output)
    assert schema["additionalProperties"] is False
    sessions = schema["properties"]["sessions"]
    assert sessions["additionalProperties"] is False
    assert sessions["properties"]["idle_timeout_minutes"] == {
        "type": "integer",
        "minimum": 1,
        "default": 30,
        "description": "Minutes without activity before a session is stopped.",
    }
    assert schema["properties"]["auth"]["properties"]["jwt_secret"]["x-sensitive"] is True
    assert schema["properties"]["server"]["properties"]["listen"]["x-restart"] is True
    assert schema["properties"]["container"]["properties"]["runtime"]["enum"] == ["docker", "podman"]
