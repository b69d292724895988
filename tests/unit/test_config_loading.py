"""Which file is read, what wins over what, and the sentence for every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest

from oqto_platform import config
from oqto_platform.config.sections import CORE, Auth, Local, Logging, Paths, Server
from oqto_platform.errors import ConfigError
from oqto_platform.hooks import Hooks
from oqto_platform.settings import Secret, Section, key

SEED = Path(__file__).parents[1] / "fixtures" / "config" / "seed-example.toml"
HOME = {"HOME": "/home/ada"}


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "config.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def refusal(path, env=HOME, **options) -> str:
    with pytest.raises(ConfigError) as refused:
        config.load(path, env, **options)
    return refused.value.detail


# ---- which file


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
    monkeypatch.setattr("oqto_platform.config.Path", lambda text: tmp_path / str(text).lstrip("/"))
    assert config.locate({"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}) is None
    settings = config.load(None, HOME)
    assert settings.section("server", Server).max_upload_size_mb == 100
    assert settings.source == "built-in defaults"


def test_the_machines_files_come_last(tmp_path, monkeypatch, write):
    etc = tmp_path / "etc"
    monkeypatch.setattr("oqto_platform.config.Path", lambda text: tmp_path / str(text).lstrip("/"))
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    older = write("", "etc/octo/config.toml")
    assert config.locate(env) == older
    newer = write("", "etc/oqto/config.toml")
    assert config.locate(env) == newer
    assert etc in newer.parents


# ---- the whole example of the reference


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


# ---- the environment


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
    path = write("[server]\nmax_upload_size_mb = 1\nlisten = '127.0.0.1:1'\n[auth]\ndev_mode = true\n")
    settings = config.load(path, HOME | {variable: text})
    assert getattr(settings.any_section(section), name) == value


def test_a_nested_key_takes_one_more_step(write):
    settings = config.load(None, HOME | {"OQTO__LOCAL__LINUX_USERS__SHELL": "/bin/bash"})
    assert settings.section("local", Local).linux_users.shell == "/bin/bash"
    assert "linux_users] uid_start" in refusal(None, HOME | {"OQTO__LOCAL__LINUX_USERS__UID_START": "2500"})


def test_flags_win_over_everything(write):
    path = write("[server]\nmax_upload_size_mb = 1\n")
    env = HOME | {"OQTO__SERVER__MAX_UPLOAD_SIZE_MB": "2"}
    settings = config.load(path, env, overrides={"server.max_upload_size_mb": 3})
    assert settings.section("server", Server).max_upload_size_mb == 3


def test_a_wrong_variable_is_named_and_not_the_innocent_file(write):
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
def test_a_variable_that_names_no_key_is_refused(write, variable, words):
    path = write("[server]\nlisten = '127.0.0.1:1'\n")
    assert words in refusal(path, HOME | {variable: "x"})


def test_other_variables_of_oqto_are_not_taken_for_keys():
    config.load(None, HOME | {"OQTO_DATABASE_PATH": "/x", "OQTO_LOG": "debug", "OQTO_SERVER_URL": "http://x"})


# ---- expansion


class Weather(Section, frozen=True):
    place: Annotated[str, key("Where.", expand=True)] = "$XDG_CACHE_HOME/weather"
    word: Annotated[str, key("As it stands.")] = ""
    token: Annotated[Secret, key("Secret.")] = Secret("")


KINDS = {"weather": Weather}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", "/home/ada"),
        ("~/x", "/home/ada/x"),
        ("~bob/x", "~bob/x"),
        ("$PLACE/x", "/p/x"),
        ("${PLACE}y/$PLACE", "/py//p"),
        ("env:PLACE", "/p"),
        ("$XDG_DATA_HOME", "/home/ada/.local/share"),
        ("{user_id}", "{user_id}"),
    ],
)
def test_what_a_path_refers_to_is_put_in_its_place(write, text, value):
    path = write(f"[weather]\nplace = '{text}'\nword = '{text}'\n")
    weather = config.load(path, HOME | {"PLACE": "/p"}, kinds=KINDS).section("weather", Weather)
    assert weather.place == value
    assert weather.word == text


def test_a_default_is_expanded_too():
    assert (
        config.load(None, HOME, kinds=KINDS).section("weather", Weather).place == "/home/ada/.cache/weather"
    )


def test_a_secret_is_a_reference_or_itself(write, tmp_path):
    (tmp_path / "token").write_text("from-file\n")

    def token(text, env=HOME):
        path = write(f"[weather]\ntoken = '{text}'\n")
        return config.load(path, env, kinds=KINDS).section("weather", Weather).token.reveal()

    assert token("env:TOKEN", HOME | {"TOKEN": "from-env"}) == "from-env"
    assert token(f"file:{tmp_path}/token") == "from-file"
    assert token("file:$FOLDER/token", HOME | {"FOLDER": str(tmp_path)}) == "from-file"
    assert token("pa$$word$HOME~") == "pa$$word$HOME~"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("place = '$NOWHERE/x'", "[weather] place: the environment variable NOWHERE is not set ($NOWHERE)"),
        (
            "token = 'env:NOWHERE'",
            "[weather] token: the environment variable NOWHERE is not set (env:NOWHERE)",
        ),
        ("token = 'file:/no/such'", "[weather] token: cannot read file:/no/such: No such file or directory"),
    ],
)
def test_what_a_reference_misses_is_named(write, text, words):
    path = write(f"[weather]\n{text}\n")
    assert refusal(path, kinds=KINDS) == f"{path}: {words}"


# ---- mistakes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sever]\n", "unknown section [sever], did you mean 'server'? (is its plugin installed?)"),
        ("server = 5\n", "[server] must be a table, not int"),
        (
            "[server]\nmax_upload = 5\n",
            "[server] unknown key 'max_upload', did you mean 'max_upload_size_mb'?",
        ),
        (
            "[local.linux_users]\nprefiks = 'x'\n",
            "[local.linux_users] unknown key 'prefiks', did you mean 'prefix'?",
        ),
        ("[local]\nlinux_users = 5\n", "[local] linux_users: expected `object`, got `int`"),
        ("[server]\nmax_upload_size_mb = 'many'\n", "[server] max_upload_size_mb: expected `int`, got `str`"),
        ("[server]\nmax_upload_size_mb = 1.5\n", "[server] max_upload_size_mb: expected `int`, got `float`"),
        ("[server]\nmax_upload_size_mb = true\n", "[server] max_upload_size_mb: expected `int`, got `bool`"),
        ("[server]\nmax_upload_size_mb = 0\n", "[server] max_upload_size_mb: expected `int` >= 1"),
        ("[server]\nmax_upload_size_mb = -1\n", "[server] max_upload_size_mb: expected `int` >= 1"),
        (
            "[logging]\nlevel = 'loud'\n",
            "[logging] level: invalid enum value 'loud' (allowed: 'error', 'warn', 'info', 'debug', 'trace')",
        ),
        (
            "[sessions]\nauto_attach = true\n",
            "[sessions] auto_attach: expected `str`, got `bool` (allowed: 'off', 'attach', 'resume', 'on')",
        ),
        ("[auth]\njwt_secret = 5\n", "[auth] jwt_secret: expected `str`, got `int`"),
        ("[auth]\nallowed_origins = 'x'\n", "[auth] allowed_origins: expected `array`, got `str`"),
        ("[container]\nbase_port = 80\n", "[container] base_port: expected `int` >= 1024"),
        ("profile = 5\n", "profile: expected a text, got int"),
        ("profile = '../other'\n", "profile: "),
    ],
)
def test_a_mistake_is_told_with_file_section_key_and_what_would_be_right(write, text, words):
    path = write(text)
    told = refusal(path)
    assert told.startswith(f"{path}: ")
    assert words in told


def test_a_file_that_is_no_toml_is_told_with_the_line(write, tmp_path):
    path = write("[server\n")
    assert refusal(path).startswith(f"{path}: not valid TOML: ")
    assert "line 1" in refusal(path)
    path.write_bytes(b"\xff\xfe")
    assert refusal(path) == f"{path}: cannot be read: not UTF-8 text"
    assert (
        refusal(tmp_path / "gone.toml") == f"{tmp_path}/gone.toml: cannot be read: No such file or directory"
    )


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        (
            "[container]\nruntime = 'docker'\n",
            "[container] runtime: this version has no support for container sessions",
        ),
        (
            "[runtime]\nfail_fast = false\n",
            "[runtime] fail_fast: this version has no support for start-up checks",
        ),
        (
            "[local.linux_users]\nenabled = true\n",
            "[local.linux_users] enabled: this version has no support for one",
        ),
        (
            "[agent_browser]\nenabled = true\n",
            "[agent_browser] enabled: this version has no support for the agent",
        ),
        (
            "[auth]\noidc_issuer = 'https://x'\n",
            "[auth] oidc_issuer: this version has no support for OpenID Connect",
        ),
        (
            "[runner]\npi_sessions_dir = '~/elsewhere'\n",
            "[runner] pi_sessions_dir: this version has no support for the",
        ),
    ],
)
def test_a_key_of_a_feature_to_come_is_refused_by_name(write, text, feature):
    path = write(text)
    told = refusal(path)
    assert told.startswith(f"{path}: {feature}")
    assert "remove the key or leave its default (" in told


@pytest.mark.parametrize(
    "text",
    [
        "[container]\nbase_port = 41820\ndefault_image = 'oqto-dev:latest'\n",
        "[runner]\npi_sessions_dir = '~/.local/share/pi/sessions'\n",
        "[local.linux_users]\nenabled = false\nuid_start = 2000\n",
    ],
)
def test_a_key_of_a_feature_to_come_may_stand_with_its_default(write, text):
    config.load(write(text), HOME)


# ---- profiles, snapshots, secrets


def test_a_profile_lays_its_file_over_the_first(write):
    path = write(
        "profile = 'work'\n[server]\nmax_upload_size_mb = 1\nlisten = 'a:1'\n[auth]\ndev_mode = true\n"
    )
    write("[server]\nmax_upload_size_mb = 2\n", "config.work.toml")
    write("[server]\nmax_upload_size_mb = 3\n", "config.home.toml")
    server = config.load(path, HOME).section("server", Server)
    assert (server.max_upload_size_mb, server.listen) == (2, "a:1")


def test_a_profile_without_a_file_is_only_a_label(write):
    config.load(write("profile = 'work'\n'$schema' = 'https://x'\n"), HOME)


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
    from oqto_platform.config.sections import Plugins

    assert config.peek(path, HOME, "plugins", Plugins).disabled == ("eavs",)
    env = HOME | {"OQTO__PLUGINS__ONLY": '["sandbox"]', "OQTO__OF_A_PLUGIN__X": "2"}
    assert config.peek(path, env, "plugins", Plugins).only == ("sandbox",)


def test_every_key_of_every_section_is_described():
    import typing

    import msgspec

    kinds = (
        CORE | Hooks.load("core").register_all("register_config") | {"linux_users": type(Local().linux_users)}
    )
    for name, kind in kinds.items():
        for field, hint in typing.get_type_hints(kind, include_extras=True).items():
            metas = [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, msgspec.Meta)]
            nested = isinstance(hint, type) and issubclass(hint, Section)
            assert nested or any(m.description for m in metas), f"[{name}] {field}"
