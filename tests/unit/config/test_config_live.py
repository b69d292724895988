"""A running process takes what the files say, key by key, and nothing of a file that is wrong."""

from __future__ import annotations

import pytest

from oqto_platform import config
from oqto_platform.config.live import Live
from oqto_platform.config.sections import Server, Sessions
from oqto_platform.errors import ConfigError

HOME = {"HOME": "/home/ada"}


@pytest.fixture
def live(write):
    path = write("")
    return Live(config.load(path, HOME), lambda generation: config.load(path, HOME, generation=generation))


def test_a_key_that_may_change_changes_at_once(live, write):
    write("[sessions]\nidle_timeout_minutes = 5\n")
    change = live.reload()
    assert change.keys == ("sessions.idle_timeout_minutes",)
    assert change.old.section("sessions", Sessions).idle_timeout_minutes == 30
    assert live.current is change.new
    assert live.current.section("sessions", Sessions).idle_timeout_minutes == 5
    assert (change.old.generation, change.new.generation) == (1, 2)


def test_a_key_that_waits_for_a_restart_is_named_and_keeps_its_value(live, write):
    write("[server]\nlisten = '127.0.0.1:1'\nmax_upload_size_mb = 5\n")
    assert live.reload().keys == ("server.max_upload_size_mb",)
    assert live.current.section("server", Server).listen == "127.0.0.1:8080"
    assert live.pending == ("server.listen",)
    write("[server]\nmax_upload_size_mb = 5\n")
    assert live.reload() is None
    assert live.pending == ()


def test_a_comment_is_no_change(live, write):
    write("# only a comment\n")
    assert live.reload() is None
    assert live.current.generation == 1


def test_a_wrong_file_changes_nothing_and_is_told_until_it_is_right(live, write):
    before = live.current
    write("[sessions]\nidle_timeout_minutes = 5\nidle_timeout = 6\n")
    with pytest.raises(ConfigError):
        live.reload()
    assert live.current is before
    assert "[sessions] unknown key 'idle_timeout', did you mean 'idle_timeout_minutes'?" in live.error
    write("[sessions]\nidle_timeout_minutes = 5\n")
    assert live.reload().keys == ("sessions.idle_timeout_minutes",)
    assert live.error == ""


def test_a_file_that_vanishes_is_no_reason_to_fall_back_to_the_defaults(write):
    path = write("[sessions]\nidle_timeout_minutes = 5\n")
    assert config.relocate({"OQTO_CONFIG": str(path)}, "", path) == path
    path.unlink()
    with pytest.raises(ConfigError, match="is gone; put it back"):
        config.relocate({"OQTO_CONFIG": str(path)}, "", path)
