"""Which file is read."""

from __future__ import annotations

import pytest

from oqto_platform import config
from oqto_platform.config.sections import Server
from oqto_platform.errors import ConfigError

HOME = {"HOME": "/home/ada"}


def test_the_flag_wins_over_the_variable_over_the_users_folder(write, tmp_path):
    flag, variable = write("", "flag.toml"), write("", "variable.toml")
    users = write("", "xdg/oqto/config.toml")
    env = {"OQTO_CONFIG": str(variable), "XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": "/nowhere"}
    assert config.locate(env, str(flag)) == flag
    assert config.locate(env) == variable
    del env["OQTO_CONFIG"]
    assert config.locate(env) == users


def test_without_xdg_the_users_folder_is_dot_config(write, tmp_path):
    path = write("", ".config/oqto/config.toml")
    assert config.locate({"HOME": str(tmp_path)}) == path
    assert config.locate({"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative"}) == path


def test_a_folder_stands_for_its_config_toml(write, tmp_path):
    path = write("")
    assert config.locate({"OQTO_CONFIG": str(tmp_path)}) == path
    assert config.locate({}, str(tmp_path)) == path


def test_home_and_variables_are_expanded_in_the_name_of_the_file(write, tmp_path):
    path = write("")
    assert config.locate({"HOME": str(tmp_path), "OQTO_CONFIG": "~/config.toml"}) == path
    assert config.locate({"PLACE": str(tmp_path)}, "$PLACE/config.toml") == path


def test_a_file_that_was_named_must_exist(tmp_path):
    with pytest.raises(ConfigError) as refused:
        config.locate({"OQTO_CONFIG": str(tmp_path / "none.toml")})
    assert refused.value.detail == f"OQTO_CONFIG names {tmp_path}/none.toml, which is not a file"
    with pytest.raises(ConfigError, match=r"--config names .*, which is not a file"):
        config.locate({}, str(tmp_path / "none.toml"))


def test_a_variable_missing_in_the_name_of_the_file_is_named():
    with pytest.raises(ConfigError, match=r"OQTO_CONFIG.*NOWHERE is not set"):
        config.locate({"OQTO_CONFIG": "$NOWHERE/config.toml"})


def test_without_a_file_the_defaults_hold(tmp_path, monkeypatch):
    monkeypatch.setattr("oqto_platform.config.files.Path", lambda text: tmp_path / str(text).lstrip("/"))
    assert config.locate({"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}) is None
    settings = config.load(None, HOME)
    assert settings.section("server", Server).max_upload_size_mb == 100
    assert settings.source == "built-in defaults"


def test_the_machines_files_come_last(tmp_path, monkeypatch, write):
    etc = tmp_path / "etc"
    monkeypatch.setattr("oqto_platform.config.files.Path", lambda text: tmp_path / str(text).lstrip("/"))
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    older = write("", "etc/octo/config.toml")
    assert config.locate(env) == older
    newer = write("", "etc/oqto/config.toml")
    assert config.locate(env) == newer
    assert etc in newer.parents
