"""Secrets never reach the log, whatever the field is called and however deep they lie."""

from __future__ import annotations

import io
import json
import stat

import jwt
import pytest
import structlog

from oqto_platform import logs
from oqto_platform.settings import Secret
from oqto_platform.types import Credentials

CANARY = "CANARY-5f2b91"
TOKEN = jwt.encode({"sub": "acc_1"}, "s" * 32, "HS256")


@pytest.fixture
def written(monkeypatch):
    """`written()`: what was logged, as text."""
    monkeypatch.setattr(logs.logging, "basicConfig", lambda **_: None)
    stream = io.StringIO()
    before = structlog.get_config()
    logs.set_up("debug", env={}, out=stream)
    yield stream.getvalue
    structlog.configure(**before)


@pytest.mark.parametrize(
    "fields",
    [
        {"password": CANARY},
        {"jwt_secret": CANARY},
        {"access_token": CANARY},
        {"cookie": CANARY},
        {"Authorization": f"Bearer {CANARY}"},
        {"api_key": CANARY},
        {"EAVS_API_KEY": CANARY},
        {"master_key": CANARY},
        {"secret": Secret(CANARY)},
        {"whatever": Secret(CANARY)},
        {"credentials": Credentials(name="ada", password=CANARY)},
        {"env": {"EAVS_API_KEY": CANARY, "PATH": "/bin"}},
        {"headers": [{"authorization": CANARY}]},
        {"deep": {"a": [{"b": ({"password": CANARY},)}]}},
        {"argv": ["--key", f"sk-{CANARY}"]},
        {"line": f"key is eavs-{CANARY} indeed"},
        {"raw": f"octo_sk_{CANARY}".encode()},
    ],
)
def test_a_secret_is_stars(written, fields):
    structlog.get_logger().info("something happened", **fields)
    assert "something happened" in written()
    assert CANARY not in written()
    assert "***" in written()


def test_a_token_in_a_sentence_or_an_exception_is_stars(written):
    try:
        int(f"bad token {TOKEN}")
    except ValueError:
        structlog.get_logger().exception(f"refused {TOKEN}", url=f"/x?token={TOKEN}")
    assert TOKEN not in written()
    assert "bad token ***" in written()


def test_what_is_no_secret_stays(written):
    structlog.get_logger().info("x", session="ses_1", tokens=5, keys=["a"], env={"PATH": "/bin"}, monkey="b")
    line = json.loads(written())
    assert (line["session"], line["tokens"], line["keys"], line["env"], line["monkey"]) == (
        "ses_1",
        5,
        ["a"],
        {"PATH": "/bin"},
        "b",
    )


@pytest.mark.parametrize(
    ("env", "level", "shown"),
    [
        ({}, "info", ["info", "error"]),
        ({}, "error", ["error"]),
        ({"RUST_LOG": "debug"}, "error", ["debug", "info", "error"]),
        ({"RUST_LOG": "hyper=warn,debug"}, "error", ["debug", "info", "error"]),
        ({"OQTO_LOG": "error", "RUST_LOG": "debug"}, "debug", ["error"]),
        ({"RUST_LOG": "oqto=loud"}, "info", ["info", "error"]),
    ],
)
def test_the_environment_wins_over_the_level(env, level, shown, monkeypatch):
    monkeypatch.setattr(logs.logging, "basicConfig", lambda **_: None)
    stream = io.StringIO()
    before = structlog.get_config()
    logs.set_up(level, env=env, out=stream)
    for name in ("debug", "info", "error"):
        getattr(structlog.get_logger(), name)("x")
    structlog.configure(**before)
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == shown


def test_the_log_file_gets_the_same_lines_and_is_private(tmp_path, monkeypatch):
    monkeypatch.setattr(logs.logging, "basicConfig", lambda **_: None)
    path, stream = tmp_path / "deep" / "oqto.log", io.StringIO()
    before = structlog.get_config()
    logs.set_up("info", file=str(path), env={}, out=stream)
    structlog.get_logger().info("started", api_key=CANARY)
    logs.set_up("info", env={}, out=io.StringIO())  # closes the file
    structlog.configure(**before)
    assert path.read_text() == stream.getvalue()
    assert CANARY not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("directives", "shown"),
    [
        ("oqto.mux=debug,warn", ["mux debug", "mux info", "mux error", "other error"]),
        ("error,oqto=info,oqto.mux=off", ["other info", "other error"]),
        ("oqto::mux=error", ["mux error", "other info", "other error"]),
        ("trace", ["mux debug", "mux info", "mux error", "other debug", "other info", "other error"]),
    ],
)
def test_a_logger_has_the_level_of_the_longest_name_that_fits(directives, shown, monkeypatch):
    monkeypatch.setattr(logs.logging, "basicConfig", lambda **_: None)
    stream = io.StringIO()
    before = structlog.get_config()
    logs.set_up("info", env={"RUST_LOG": directives}, out=stream)
    for name in ("mux", "other"):
        for level in ("debug", "info", "error"):
            getattr(structlog.get_logger(f"oqto.{name}"), level)("x")
    structlog.configure(**before)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [f"{line['logger'].removeprefix('oqto.')} {line['level']}" for line in lines] == shown


def test_a_one_time_link_is_stars(written):
    structlog.get_logger().info("made http://127.0.0.1:8080/#/setup/AbCdEfGhIjKlMnOpQr")
    assert "#/setup/***" in written()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("env", "has_colours"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_people_get_words_and_colours_where_they_want_them(env, has_colours, monkeypatch):
    monkeypatch.setattr(logs.logging, "basicConfig", lambda **_: None)
    stream = Terminal()
    before = structlog.get_config()
    logs.set_up("info", env=env, out=stream)
    structlog.get_logger("oqto.x").info("session started", session="ses_1", api_key=CANARY)
    structlog.configure(**before)
    text = stream.getvalue()
    assert "session started" in text
    assert CANARY not in text
    assert ("\x1b[" in text) is has_colours
    assert not text.lstrip().startswith("{")
