"""The sentence for every mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oqto_platform import config
from oqto_platform.config import files
from oqto_platform.errors import ConfigError

HOME = {"HOME": "/home/ada"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sever]\n", "unknown section [sever], did you mean 'server'? (is its plugin installed?)"),
        ("server = 5\n", "[server] is a section, so it cannot be a whole number"),
        (
            "[server]\nmax_upload = 5\n",
            "[server] unknown key 'max_upload', did you mean 'max_upload_size_mb'?",
        ),
        (
            "[local.linux_users]\nprefiks = 'x'\n",
            "[local.linux_users] unknown key 'prefiks', did you mean 'prefix'?",
        ),
        ("[local]\nlinux_users = 5\n", "[local] linux_users: expected a table, got a whole number"),
        (
            "[server]\nmax_upload_size_mb = 'many'\n",
            "[server] max_upload_size_mb: expected a whole number, got text",
        ),
        (
            "[server]\nmax_upload_size_mb = 1.5\n",
            "[server] max_upload_size_mb: expected a whole number, got a fraction",
        ),
        (
            "[server]\nmax_upload_size_mb = true\n",
            "[server] max_upload_size_mb: expected a whole number, got true or false",
        ),
        ("[server]\nmax_upload_size_mb = 0\n", "[server] max_upload_size_mb: expected a whole number >= 1"),
        ("[server]\nmax_upload_size_mb = -1\n", "[server] max_upload_size_mb: expected a whole number >= 1"),
        (
            "[logging]\nlevel = 'loud'\n",
            "[logging] level: 'loud' is none of 'error', 'warn', 'info', 'debug', 'trace'",
        ),
        (
            "[sessions]\nauto_attach = true\n",
            "[sessions] auto_attach: expected text, got true or false (allowed: 'off', 'attach', 'resume', 'on')",
        ),
        ("[auth]\njwt_secret = 5\n", "[auth] jwt_secret: expected text, got a whole number"),
        ("[auth]\nallowed_origins = 'x'\n", "[auth] allowed_origins: expected a list, got text"),
        ("[container]\nbase_port = 80\n", "[container] base_port: expected a whole number >= 1024"),
        (
            "[server]\nmax_upload_size_mb = 2020-01-01\n",
            "[server] max_upload_size_mb: expected a whole number, got a date",
        ),
        (
            "max_upload_size_mb = 5\n",
            "'max_upload_size_mb' stands before the first section; it belongs into [server]",
        ),
        (
            "enabled = true\n",
            "'enabled' stands before the first section; it belongs into [local] or [agent_browser]",
        ),
        ("nonsense = true\n", "'nonsense' stands before the first section; put it into one, or remove it"),
        (
            "[auth]\nallowed_origins = ['https://a', 3]\n",
            "[auth] allowed_origins[1]: expected text, got a whole number",
        ),
        (
            "[auth]\nallowed_origins = ['oqto.example.com']\n",
            "[auth] allowed_origins: 'oqto.example.com' is no origin, such as https://oqto.example.com",
        ),
        (
            "[[auth.dev_users]]\nid = 'a'\nname = 'A'\npassword_hash = 'x'\n",
            "[auth] dev_users[0]: email is missing",
        ),
        (
            "[[auth.dev_users]]\nid='a'\nname='A'\nemail=''\npassword_hash='x'\nrole = 'root'\n",
            "[auth.dev_users.0] role: 'root' is none of 'user', 'admin'",
        ),
        ("profile = 5\n", "profile: expected text, got a whole number"),
        (
            "profile = '../other'\n",
            "profile: '../other' is part of a file name, so it holds no '/'",
        ),
    ],
)
def test_a_mistake_is_told_with_file_section_key_and_what_would_be_right(write, text, words, refusal):
    path = write(text)
    assert refusal(path) == f"{path}: {words}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[server\n",
            "line 1, column 8: not valid TOML: Expected ']' at the end of a table declaration",
        ),
        ("[server]\nlisten = \n", "line 2, column 10: not valid TOML: Invalid value"),
        ('[server]\nlisten = "', "not valid TOML: Unterminated string at the end of the file"),
        (
            "[server]\nlisten = 'a:1'\n# again\nlisten = 'b:2'\n",
            "line 4: 'listen' comes twice; remove one of them",
        ),
        ("[server]\n[auth]\n[server]\n", "line 3: [server] comes twice; remove one of them"),
        (
            "[server]\nlisten = 'a:1'\nlisten = 'b:2'",  # no line ends it
            "line 3: 'listen' comes twice; remove one of them",
        ),
        ("\ufeff[server]\n", "begins with a byte-order mark; save it as UTF-8 without one"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_line_and_column(write, refusal, text, words):
    path = write(text)
    assert refusal(path) == f"{path}: {words}"


PROD = "[auth]\ndev_mode = false\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{PROD}", "[auth] jwt_secret: needed when dev_mode = false; set it, e.g. to env:AUTH_JWT_SECRET"),
        (f"{PROD}jwt_secret = 'short'\n", "[auth] jwt_secret: has 5 characters; use at least 32"),
        (f"{PROD}jwt_secret = 'env:SHORT'\n", "[auth] jwt_secret: has 4 characters; use at least 32"),
        (
            f"{PROD}jwt_secret = 'env:AUTH_JWT_SECRET'\n",
            "[auth] jwt_secret: the environment variable AUTH_JWT_SECRET is not set (env:AUTH_JWT_SECRET)",
        ),
        (
            f"{PROD}jwt_secret = 'your-secret-key-change-me-in-production-32-chars'\n",
            "[auth] jwt_secret: is the one of an example, which everybody knows; make one: openssl rand -base64 48",
        ),
        (
            "[server]\nlisten = '127.0.0.1:65536'\n",
            "[server] listen: '127.0.0.1:65536' is not host:port, such as 127.0.0.1:8080",
        ),
        (
            "[server]\nlisten = 'http://a:80'\n",
            "[server] listen: 'http://a:80' is not host:port, such as 127.0.0.1:8080",
        ),
        ("[container]\nbase_port = 70000\n", "[container] base_port: expected a whole number <= 65535"),
        (
            "[sessions]\nidle_check_interval_seconds = 0\n",
            "[sessions] idle_check_interval_seconds: expected a whole number >= 1",
        ),
        (
            "[sessions]\nidle_timeout_minutes = -5\n",
            "[sessions] idle_timeout_minutes: expected a whole number >= 1",
        ),
        (
            "[local]\nworkspace_dir = '/srv/{user}'\n",
            "[local] workspace_dir: unknown placeholder {user}; known: {user_id}",
        ),
        ("[logging]\nfile = '/tmp/{uid}'\n", "[logging] file: unknown placeholder {uid}; known: none here"),
        ("[logging]\nfile = '/usr'\n", "[logging] file: /usr is a folder; a file is meant"),
        ("[paths]\ndata_dir = '/etc/passwd'\n", "[paths] data_dir: /etc/passwd is a file; a folder is meant"),
        (
            "[server]\nadmin_socket_path = '/usr'\n",
            "[server] admin_socket_path: /usr is a folder; a socket is meant",
        ),
        (
            "[[auth.dev_users]]\nid='a'\nname='A'\nemail=''\npassword_hash='plain'\n",
            "[auth.dev_users.0] password_hash: is no bcrypt or argon2id hash; make one: oqtoctl hash-password",
        ),
        (
            "[[auth.dev_users]]\nid='a'\nname='A'\nemail=''\npasword_hash='x'\n",
            "[auth.dev_users.0] unknown key 'pasword_hash', did you mean 'password_hash'?",
        ),
        (
            "[backend]\nmode = 'container'\n",
            (
                "[backend] mode: this version has no support for container sessions yet, and the policy of sandbox.toml would not "
                "hold in them; use 'local' or 'auto'"
            ),
        ),
    ],
)
def test_what_no_type_can_say_is_told_with_its_repair(write, refusal, text, words):
    path = write(text)
    assert refusal(path, {"HOME": "/home/ada", "SHORT": "four"}) == f"{path}: {words}"


def test_a_mistake_in_a_profile_is_told_with_that_file(write, refusal):
    path = write("profile = 'work'\n")
    overlay = write("[server]\nmax_upload_size_mb = 0\n", "config.work.toml")
    assert refusal(path) == f"{overlay}: [server] max_upload_size_mb: expected a whole number >= 1"


def test_a_profile_without_its_file_is_refused_by_name(write, refusal):
    path = write("profile = 'work'\n")
    missing = path.with_name("config.work.toml")
    assert refusal(path) == f"{path}: profile: 'work' has no file {missing}; make it, or leave 'default'"
    missing.write_text("")
    told = refusal(path, HOME | {"OQTO__PROFILE": "home"})
    assert told.startswith("OQTO__PROFILE: 'home' has no file ")
    assert refusal(path, HOME | {"OQTO__PROFILE": "../x"}).startswith("OQTO__PROFILE: '../x' is part of")


@pytest.mark.parametrize(("text", "word"), [("loud", "loud"), ("info,oqto.mux=much", "much")])
def test_a_level_that_is_none_is_refused_where_it_is_ours(refusal, text, word):
    words = "'off', 'error', 'warn', 'warning', 'info', 'debug', 'trace'"
    assert refusal(None, HOME | {"OQTO_LOG": text}) == f"OQTO_LOG: {word!r} is none of {words}"
    config.load(None, HOME | {"RUST_LOG": text, "OQTO_LOG": "info,oqto.mux=DEBUG"})


def test_a_file_that_another_can_write_is_refused(write):
    path = write("")

    def told():
        with pytest.raises(ConfigError) as refused:
            config.load(path, HOME, owner=os.getuid())
        return refused.value.detail

    config.load(path, HOME, owner=os.getuid())
    path.chmod(0o646)
    assert told() == f"{path}: everybody can write the file {path}; repair: chmod go-w {path}"
    path.chmod(0o644)
    path.parent.chmod(0o777)
    assert told() == f"{path}: everybody can write the folder {path.parent}; repair: chmod go-w {path.parent}"
    path.parent.chmod(0o1777)
    config.load(path, HOME, owner=os.getuid())
    path.parent.chmod(0o700)
    link = path.with_name("link.toml")
    link.symlink_to(path)
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="everybody can write the file"):
        config.load(link, HOME, owner=os.getuid())


def test_a_file_that_goes_while_it_is_read_is_told(write, monkeypatch):
    path = write("")

    def read(path):
        path.unlink()
        return ""

    with monkeypatch.context() as racing:
        racing.setattr(files, "read_text", read)
        racing.setattr(Path, "exists", lambda _: True)  # as it was a moment ago
        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            config.load(path, HOME, owner=os.getuid())


def test_a_file_of_somebody_else_is_refused(write):
    path, me = write(""), os.getuid()
    if me == 0:
        os.chown(path, 65534, 0)
    with pytest.raises(ConfigError) as refused:
        config.load(path, HOME, owner=me if me == 0 else me + 1)
    assert refused.value.detail.startswith(f"{path}: the file {path} belongs to {path.owner()}, who could ")
    assert "; repair: chown " in refused.value.detail


def test_a_file_that_cannot_be_read_is_told_with_the_reason(write, refusal, tmp_path):
    path = write("")
    path.write_bytes(b"\xff\xfe")
    assert refusal(path) == f"{path}: cannot be read: not UTF-8 text"
    gone = tmp_path / "gone.toml"
    assert refusal(gone) == f"{gone}: cannot be read: No such file or directory"
    assert refusal(tmp_path) == f"{tmp_path}: is a folder; a file is meant"


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        (
            "[container]\nruntime = 'docker'\n",
            "[container] runtime: this version has no support for container sessions",
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
def test_a_key_of_a_feature_to_come_is_refused_by_name(write, text, feature, refusal):
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
