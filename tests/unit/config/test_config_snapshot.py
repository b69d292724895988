"""What a snapshot holds and does not show."""

from __future__ import annotations

from pathlib import Path

import pytest

from oqto_platform import config
from oqto_platform.config import keys
from oqto_platform.config.sections import CORE, Auth, Local, Logging, Paths, Plugins, Server
from oqto_platform.errors import ConfigError
from oqto_platform.hooks import Hooks
from oqto_platform.settings import Secret

SEED = Path(__file__).parents[2] / "fixtures" / "config" / "seed-example.toml"

HOME = {"HOME": "/home/ada"}


def test_a_profile_lays_its_file_over_the_first(write):
    path = write(
        "profile = 'work'\n[server]\nmax_upload_size_mb = 1\nlisten = 'a:1'\n[auth]\ndev_mode = true\n"
    )
    write("[server]\nmax_upload_size_mb = 2\n", "config.work.toml")
    write("[server]\nmax_upload_size_mb = 3\n", "config.home.toml")
    server = config.load(path, HOME).section("server", Server)
    assert (server.max_upload_size_mb, server.listen) == (2, "a:1")


def test_the_default_profile_needs_no_file(write):
    config.load(write("profile = 'default'\n'$schema' = 'https://x'\n"), HOME)


def test_a_snapshot_cannot_be_changed(write):
    settings = config.load(None, HOME)
    with pytest.raises(AttributeError):
        settings.section("server", Server).listen = "x"
    with pytest.raises(TypeError, match="is Server, not Logging"):
        settings.section("server", Logging)
    with pytest.raises(KeyError):
        settings.any_section("weather")


def test_a_secret_never_shows(write):
    path = write("[auth]\njwt_secret = 'CANARY-CANARY-CANARY-CANARY-CANARY'\n")
    settings = config.load(path, HOME)
    auth = settings.section("auth", Auth)
    for shown in (
        repr(auth),
        str(auth),
        repr(auth.jwt_secret),
        f"{auth.jwt_secret}",
        repr(vars(type(settings))),
        settings.digest,
    ):
        assert "CANARY" not in shown
    assert auth.jwt_secret == Secret("CANARY-CANARY-CANARY-CANARY-CANARY")
    assert auth.jwt_secret != Secret("another")
    assert auth.jwt_secret != "CANARY-CANARY-CANARY-CANARY-CANARY"
    assert bool(auth.jwt_secret)
    assert not Secret("")


def test_the_digest_tells_whether_anything_changed(write):
    one = config.load(write("[server]\nmax_upload_size_mb = 1\n"), HOME).digest
    assert one == config.load(write("# a comment\n[server]\nmax_upload_size_mb = 1\n"), HOME).digest
    assert one != config.load(write("[server]\nmax_upload_size_mb = 2\n"), HOME).digest


def test_one_section_is_read_before_the_others_are_known(write):
    path = write("[plugins]\ndisabled = ['eavs']\n[of_a_plugin]\nx = 1\n")
    assert config.peek(path, HOME, "plugins", Plugins).disabled == ("eavs",)
    env = HOME | {"OQTO__PLUGINS__ONLY": '["sandbox"]', "OQTO__OF_A_PLUGIN__X": "2"}
    assert config.peek(path, env, "plugins", Plugins).only == ("sandbox",)


@pytest.mark.parametrize("variable", [{}, {"OQTO__PLUGINS__ONLY": '["eavs", "sandbx"]'}])
def test_only_a_plugin_that_is_installed_can_be_chosen(write, variable):
    """It would start without what was meant, perhaps without confinement, and say nothing."""
    path = write("[plugins]\nonly = ['eavs', 'sandbox', 'builtin']\n")
    assert config.load(path, HOME).section("plugins", Plugins).only == ("eavs", "sandbox", "builtin")
    path = path if variable else write("[plugins]\nonly = ['eavs', 'sandbx']\n")
    for read in (
        lambda: config.load(path, HOME | variable),
        lambda: config.peek(path, HOME | variable, "plugins", Plugins),
    ):
        with pytest.raises(
            ConfigError,
            match=r"\[plugins\] only: no plugin 'sandbx' is installed; there are: .*eavs.*sandbox",
        ):
            read()


def test_every_key_of_every_section_is_described():
    kinds = CORE | Hooks.load("core").register_all("register_config")
    assert [key.name for key in keys.of_all(kinds) if not key.description] == []


def test_the_reference_example_loads_with_every_installed_plugin():
    kinds = CORE | Hooks.load("core").register_all("register_config")
    settings = config.load(SEED, {**HOME, "XDG_STATE_HOME": "/state"}, kinds=kinds)
    assert (
        settings.section("local", Local).runner_socket_pattern
        == "/run/oqto/runner-sockets/{user}/oqto-runner.sock"
    )
    assert settings.section("paths", Paths).state_dir == "/state/oqto"
    assert settings.section("paths", Paths).data_dir == "/home/ada/.local/share/oqto"
    assert settings.section("local", Local).workspace_dir == "/home/ada/oqto/{user_id}"
    assert settings.any_section("eavs").default_session_budget_usd == 10.0
    assert set(kinds) == set(settings.names())
