"""One variable for each key."""

from __future__ import annotations

import pytest

from oqto_platform import config
from oqto_platform.config.sections import Local, Server

HOME = {"HOME": "/home/ada"}


@pytest.mark.parametrize(
    ("variable", "text", "section", "name", "value"),
    [
        ("OQTO__SERVER__MAX_UPLOAD_SIZE_MB", "5", "server", "max_upload_size_mb", 5),
        ("oqto__server__max_upload_size_mb", "6", "server", "max_upload_size_mb", 6),
        ("OQTO__AUTH__DEV_MODE", "false", "auth", "dev_mode", False),
        ("OQTO__LOGGING__LEVEL", "debug", "logging", "level", "debug"),
        ("OQTO__LOGGING__FILE", "5", "logging", "file", "5"),
        ("OQTO__SERVER__LISTEN", "0.0.0.0:3000", "server", "listen", "0.0.0.0:3000"),
        (
            "OQTO__AUTH__ALLOWED_ORIGINS",
            '["https://a.example"]',
            "auth",
            "allowed_origins",
            ("https://a.example",),
        ),
    ],
)
def test_a_variable_wins_over_the_file_with_the_type_of_its_key(write, variable, text, section, name, value):
    path = write(
        "[server]\nmax_upload_size_mb = 1\n[auth]\ndev_mode = true\njwt_secret = 'a secret of no less than 32 characters'"
    )
    settings = config.load(path, HOME | {variable: text})
    assert getattr(settings.any_section(section), name) == value


def test_a_nested_key_takes_one_more_step(write, refusal):
    settings = config.load(None, HOME | {"OQTO__LOCAL__LINUX_USERS__SHELL": "/bin/bash"})
    assert settings.section("local", Local).linux_users.shell == "/bin/bash"
    assert "linux_users] uid_start" in refusal(None, HOME | {"OQTO__LOCAL__LINUX_USERS__UID_START": "2500"})


def test_flags_win_over_everything(write):
    path = write("[server]\nmax_upload_size_mb = 1\n")
    env = HOME | {"OQTO__SERVER__MAX_UPLOAD_SIZE_MB": "2"}
    settings = config.load(path, env, overrides={"server.max_upload_size_mb": 3})
    assert settings.section("server", Server).max_upload_size_mb == 3


def test_a_wrong_variable_is_named_and_not_the_innocent_file(write, refusal):
    path = write("[server]\n")
    assert "OQTO__SERVER__MAX_UPLOAD_SIZE_MB" in refusal(
        path, HOME | {"OQTO__SERVER__MAX_UPLOAD_SIZE_MB": "many"}
    )
    wrong_key = refusal(path, HOME | {"OQTO__SERVER__MAX_UPLOAD_SIZE": "5"})
    assert "OQTO__SERVER__MAX_UPLOAD_SIZE" in wrong_key
    assert "did you mean 'max_upload_size_mb'?" in wrong_key


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("OQTO__SEVER__LISTEN", "OQTO__SEVER__LISTEN: no section [sever], did you mean 'server'?"),
        ("OQTO__SERVER", "OQTO__SERVER"),
        ("OQTO__", "OQTO__"),
        ("OQTO__SERVER__", "OQTO__SERVER__"),
        ("OQTO__SERVER__LISTEN__HOST", "OQTO__SERVER__LISTEN__HOST"),
    ],
)
def test_a_variable_that_names_no_key_is_refused(write, variable, words, refusal):
    path = write("[server]\nlisten = '127.0.0.1:1'\n")
    assert words in refusal(path, HOME | {variable: "x"})


def test_other_variables_of_oqto_are_not_taken_for_keys():
    config.load(None, HOME | {"OQTO_DATABASE_PATH": "/x", "OQTO_LOG": "debug", "OQTO_SERVER_URL": "http://x"})
