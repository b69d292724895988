"""The sentence for every mistake."""

from __future__ import annotations

import pytest

from oqto_platform import config

HOME = {"HOME": "/home/ada"}


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
def test_a_mistake_is_told_with_file_section_key_and_what_would_be_right(write, text, words, refusal):
    path = write(text)
    told = refusal(path)
    assert told.startswith(f"{path}: ")
    assert words in told


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
    ],
)
def test_a_file_that_is_no_toml_is_told_with_line_and_column(write, refusal, text, words):
    path = write(text)
    assert refusal(path) == f"{path}: {words}"


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
