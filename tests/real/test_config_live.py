"""A running server whose configuration changes: by editors, over HTTP, by command; with mistakes in between."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path

import httpx
import pytest
from commands import oqtoctl
from live_config import (
    SEED,
    as_a_link,
    as_kubernetes_does,
    audited,
    features,
    in_place,
    removed_and_made_again,
    renamed_over,
    settings,
    status,
    view,
    with_upload,
)
from waiting import until

from oqto_platform.config import keys
from oqto_platform.config.sections import CORE
from oqto_platform.testing.mux import mux_client
from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.real

NOT_OF_THE_CORE = ("eavs",)


@pytest.fixture(scope="module")
def home(tmp_path_factory, needs_bubblewrap) -> Path:
    return tmp_path_factory.mktemp("config")


@pytest.fixture(scope="module")
def stack(home):
    """A server whose file is the reference's example, to the letter. Variables move its places and ports."""
    config = home / "config.toml"
    config.write_text(SEED.read_text())
    with Stack(
        home, plugins=("eavs", "sandbox"), env={"OQTO_CONFIG": str(config), "METRICS": "m" * 40}
    ) as stack:
        stack.config = config
        stack.set_up()
        yield stack


@pytest.fixture(autouse=True)
def restored(stack):
    """Each test begins with the example again."""
    yield
    stack.config.unlink(missing_ok=True)
    stack.config.write_text(SEED.read_text())
    assert stack.client.post("/api/settings/reload").json()["error"] == ""


def test_the_example_of_the_reference_is_the_configuration_of_a_running_server(stack):
    assert stack.start_session(harness="echo")["state"] == "running"
    shown = tomllib.loads(oqtoctl(stack, "config", "show").stdout)
    for section, values in tomllib.loads(SEED.read_text()).items():
        for key, value in values.items() if isinstance(values, dict) else ():
            if f"OQTO__{section}__{key}".upper() not in stack.env and not isinstance(value, dict):
                expected = value.replace("$HOME", stack.env["HOME"]) if isinstance(value, str) else value
                assert shown[section][key] == expected, f"[{section}] {key}"


@pytest.mark.parametrize(
    "write", [in_place, renamed_over, removed_and_made_again, as_a_link, as_kubernetes_does]
)
def test_a_change_is_seen_however_it_is_written(stack, write):
    for size in (7, 8, 9):  # the second and third time, what is watched is already a link
        write(stack.config, with_upload(size))
        until(lambda size=size: settings(stack)["server.max_upload_size_mb"]["value"] == size)
    assert status(stack)["error"] == ""


def test_a_change_behind_a_link_is_seen(stack):
    as_a_link(stack.config, with_upload(7))
    until(lambda: settings(stack)["server.max_upload_size_mb"]["value"] == 7)
    stack.config.resolve().write_text(with_upload(8))
    until(lambda: settings(stack)["server.max_upload_size_mb"]["value"] == 8)


def test_a_typo_is_told_everywhere_and_the_server_goes_on(stack):
    session = stack.start_session(harness="echo")
    stack.config.write_text(SEED.read_text().replace("max_upload_size_mb", "max_upload_size"))
    sentence = f"{stack.config}: [server] unknown key 'max_upload_size', did you mean 'max_upload_size_mb'?"
    until(lambda: status(stack)["error"] == sentence)
    assert f'"reason": {json.dumps(sentence)}' in stack.log.read_text()
    told = oqtoctl(stack, "config", "status")
    assert told.returncode == oqtoctl(stack, "config", "reload").returncode == 1
    assert f"REFUSED {time.strftime('%Y-')}" in told.stdout
    assert sentence in told.stdout
    assert f"FAILING config: {sentence} — mend the file" in oqtoctl(stack, "status").stdout
    assert audited(stack, "config.refused")[-1]["fields"]["reason"] == sentence
    assert stack.client.get("/health/ready").json()["status"] == "ok"
    assert stack.client.get(f"/api/sessions/{session['id']}").json()["state"] == "running"
    assert stack.start_session(harness="echo")["state"] == "running"
    assert settings(stack)["server.max_upload_size_mb"]["value"] == 100
    stack.config.write_text(with_upload(7))
    until(lambda: settings(stack)["server.max_upload_size_mb"]["value"] == 7)
    assert oqtoctl(stack, "config", "status").returncode == 0


def test_a_file_that_vanishes_changes_nothing(stack):
    stack.config.unlink()
    until(lambda: "is gone; put it back" in status(stack)["error"])
    assert settings(stack)["scaffold.binary"]["origin"] == str(stack.config)


def test_a_key_that_waits_for_a_restart_is_named(stack):
    stack.config.write_text(f"{SEED.read_text()}\n[plugins]\ndisabled = ['eavs']\n")
    until(lambda: status(stack)["pending"])
    assert status(stack)["pending"] == [{"key": "plugins.disabled", "running": [], "wanted": ["eavs"]}]
    assert (
        'waits for a restart: plugins.disabled = ["eavs"] (running: [])'
        in oqtoctl(stack, "config", "status").stdout
    )
    key = settings(stack)["plugins.disabled"]
    assert (key["value"], key["wanted"], key["is_pending"]) == ([], ["eavs"], True)


def test_options_of_the_command_line_win_and_are_named(stack):
    listen = settings(stack)["server.listen"]
    assert (listen["value"], listen["origin"]) == (f"127.0.0.1:{stack.port}", "command line")
    assert settings(stack)["local.single_user"]["origin"] == "command line"
    assert settings(stack)["paths.data_dir"]["origin"] == "OQTO__PATHS__DATA_DIR"


def test_a_change_of_the_sandbox_is_for_the_next_session(stack):
    before = stack.start_session(harness="echo")
    policy = stack.workspace / ".oqto" / "sandbox.toml"
    policy.parent.mkdir(exist_ok=True)
    policy.write_text("isolate_network = true\n")
    after = stack.start_session(harness="echo")
    policy.unlink()
    again = stack.client.get(f"/api/sessions/{before['id']}").json()
    assert [one["network"] for one in (before, after, again)] == ["open", "isolated", "open"]


def test_plugins_are_told(stack):
    """The LLM proxy takes a provider that the file names, while it runs."""
    assert "from-the-file" not in stack.client.get("/api/models").text
    provider = (
        "[eavs.providers.from-the-file]\nkind = 'openai-compatible'\nbase_url = 'http://127.0.0.1:9/v1'\n"
    )
    provider += "api_key = 'k'\nmodels = ['m']\nallow_unpriced = true\n"
    stack.config.write_text(f"{SEED.read_text()}\n{provider}")
    until(lambda: "from-the-file" in stack.client.get("/api/models").text)


def test_what_is_changed_over_http_is_in_the_file_with_its_comments(stack):
    seen = view(stack)
    change = {"sessions.idle_timeout_minutes": 45, "scaffold.binary": None}
    answer = stack.client.patch("/api/settings", json={"revision": seen["revision"], "values": change})
    assert answer.status_code == 200, answer.text
    assert {key["name"]: key["value"] for key in answer.json()["keys"]}["sessions.idle_timeout_minutes"] == 45
    expected = SEED.read_text().replace("idle_timeout_minutes = 30", "idle_timeout_minutes = 45")
    assert stack.config.read_text() == expected.replace('binary = "byt"\n', "")
    assert stack.config.with_name("config.toml.bak").read_text() == SEED.read_text()
    record = audited(stack, "config.changed")[-1]
    assert (record["actor"], record["fields"]["keys"]) == ("ada", ["sessions.idle_timeout_minutes"])


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        (
            {"sessions.idle_timeout_minutes": "x"},
            422,
            "[sessions] idle_timeout_minutes: expected a whole number, got text",
        ),
        (
            {"sessions.idle_timeout": 5},
            422,
            "unknown key 'idle_timeout', did you mean 'idle_timeout_minutes'?",
        ),
        ({"sesions.idle_timeout_minutes": 5}, 422, "unknown section [sesions], did you mean 'sessions'?"),
        ({"agent_browser.headed": True}, 422, "no support for"),
        ({"sessions": 5}, 422, "'sessions' is no key; the form is section.key"),
        ({"sessions.idle_timeout_minutes": 0, "server.max_upload_size_mb": 5}, 422, "a whole number >= 1"),
    ],
)
def test_a_wrong_change_leaves_the_file_as_it_is(stack, values, code, words):
    answer = stack.client.patch("/api/settings", json={"revision": view(stack)["revision"], "values": values})
    assert (answer.status_code, words in answer.json()["detail"]) == (code, True), answer.text
    assert stack.config.read_text() == SEED.read_text()
    assert status(stack)["error"] == ""


def test_of_two_changes_at_once_the_second_sees_the_first(stack):
    seen = view(stack)["revision"]
    for minutes, code in ((41, 200), (42, 409)):
        body = {"revision": seen, "values": {"sessions.idle_timeout_minutes": minutes}}
        answer = stack.client.patch("/api/settings", json=body)
        assert answer.status_code == code
    assert "-idle_timeout_minutes = 41" in answer.json()["extra"]["diff"]
    assert "+idle_timeout_minutes = 42" in answer.json()["extra"]["diff"]


def test_no_secret_comes_back_over_http(stack):
    stack.config.write_text(f'{SEED.read_text()}\n[eavs.providers.mine]\nkind = "openai-compatible"\nmodels = ["m"]\n'
                            'base_url = "http://127.0.0.1:9/v1"\napi_key = "CANARY-1"\nheaders = {"X" = "CANARY-2"}\n')  # fmt: skip
    until(lambda: settings(stack)["eavs.providers"]["value"])
    for path in ("/api/settings", "/api/settings/status", "/api/settings/schema"):
        assert "CANARY" not in stack.client.get(path).text
    stale = {"revision": "old", "values": {"eavs.providers.mine.api_key": "CANARY-3"}}
    answer = stack.client.patch("/api/settings", json=stale)
    assert (answer.status_code, "CANARY" in answer.text) == (409, False)
    assert "CANARY" not in oqtoctl(stack, "config", "show").stdout
    assert "CANARY" not in (stack.state_dir / "audit.log.jsonl").read_text() + stack.log.read_text()


def signs_in_for_s(stack):
    answer = httpx.post(
        f"{stack.url}/api/auth/login",
        json={"name": "ada", "password": "correct horse battery"},
        trust_env=False,
    )
    return int(answer.headers["set-cookie"].partition("Max-Age=")[2].partition(";")[0])


def may_come_from(stack, origin):
    return stack.client.post("/api/settings/reload", headers={"origin": origin}).status_code == 200


def is_too_large(stack, mb):
    body = {"revision": "x" * (mb * 2**20), "values": {}}
    return stack.client.patch("/api/settings", json=body).status_code == 413


def a_session_is_refused(stack):
    answer = stack.client.post("/api/sessions", json={"workspace": str(stack.workspace), "harness": "echo"})
    return answer.status_code == 429


def dev_user_signs_in(stack):
    body = {"name": "Developer", "password": "developer-password"}
    return httpx.post(f"{stack.url}/api/auth/login", json=body, trust_env=False).status_code == 200


def says(stack, file, words):
    stack.client.get("/api/me")
    return words in file.read_text()


def is_audited_in(stack, name):
    before = len((file := stack.root / name).read_text().splitlines())
    stack.client.get("/api/admin/audit/export").read()
    return len(file.read_text().splitlines()) > before


def may_read_metrics(stack):
    answer = httpx.get(
        f"{stack.url}/metrics", headers={"authorization": f"Bearer {'m' * 40}"}, trust_env=False
    )
    return answer.status_code == 200


DEV_USER = {
    "id": "dev",
    "name": "Developer",
    "email": "dev@localhost",
    "password_hash": "$2b$04$abcdefghijklmnopqrstuuBFz.v5d17VFN.I8DnbGQ3vOpHSzEgOK",
    "role": "admin",
}
LIVE = {
    "logging.level": ("debug", lambda stack: says(stack, stack.log, '"event": "answered"')),
    "logging.file": ("more.log", lambda stack: says(stack, stack.root / "more.log", '"event": "answered"')),
    "logging.audit_max_mb": (1, None),
    "logging.audit_file": ("more.jsonl", lambda stack: is_audited_in(stack, "more.jsonl")),
    "logging.audit_enabled": (False, lambda stack: not is_audited_in(stack, "more.jsonl")),
    "plugins.trusted_panels": (["eavs"], None),
    "server.metrics_token": ("env:METRICS", may_read_metrics),
    "server.max_upload_size_mb": (1, lambda stack: is_too_large(stack, 1)),
    "runtime.timeout": (50, None),
    "local.workspace_dir": (
        "/srv/{user_id}",
        lambda stack: stack.client.get("/api/workspaces/browse").json()["suggested"] == "/srv",
    ),
    "local.cleanup_on_startup": (True, None),
    "local.stop_sessions_on_shutdown": (True, None),
    "auth.allowed_origins": (["https://a.example"], lambda stack: may_come_from(stack, "https://a.example")),
    "auth.dev_users": ([DEV_USER], dev_user_signs_in),
    "auth.session_hours": (2, lambda stack: signs_in_for_s(stack) == 7200),
    "sessions.auto_attach": ("off", lambda stack: features(stack)["auto_attach"] == "off"),
    "sessions.auto_attach_scan": (False, lambda stack: features(stack)["auto_attach_scan"] is False),
    "sessions.max_concurrent_sessions": (1, a_session_is_refused),
    "sessions.idle_timeout_minutes": (31, None),
    "sessions.idle_check_interval_seconds": (301, None),
}
"""
Each key of the core that holds at once: another value, and what a person notices.

`None`, because it takes longer or another server: test_config_effects.py, test_idle_sessions.py, test_audit_log.py, and
test_panels.py in the browser.
"""


def test_these_are_all_keys_that_hold_at_once():
    declared = {key.name for key in keys.of_all(CORE) if not key.restart and not key.needs}
    assert {name for name in declared if not name.startswith(NOT_OF_THE_CORE)} == set(LIVE)


async def test_every_key_that_holds_at_once_changes_while_a_session_streams_without_a_hiccup(stack):
    import bcrypt

    LIVE["auth.dev_users"][0][0]["password_hash"] = bcrypt.hashpw(
        b"developer-password", bcrypt.gensalt(4)
    ).decode()
    for session in stack.client.get("/api/sessions").json():
        stack.client.delete(f"/api/sessions/{session['id']}")
    session = stack.start_session(harness="echo")["id"]
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session, "subscribe", after=0)
        await mux.command(session, "prompt", message="stream 3000 20", client_id="1")
        await mux.until(lambda event: event["event"] == "stream.text_delta")
        for name, (value, notices) in LIVE.items():
            value = str(stack.root / value) if name in ("logging.file", "logging.audit_file") else value
            await _changes(stack, name, value, notices)
        assert "stream.message_end" not in mux.names()[-5:], "the changes took longer than the stream"
        await mux.command(session, "abort")
        await mux.until(lambda event: event["event"] == "agent.idle")
        numbers = [event["seq"] for event in mux.events if event.get("session_id") == session]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert [
            frame["type"]
            for frame in mux.system
            if frame["type"] not in ("ping", "connected", "config", "sessions")
        ] == []


async def _changes(stack, name, value, notices):
    import asyncio

    def change():
        body = {"revision": view(stack)["revision"], "values": {name: value}}
        answer = stack.client.patch("/api/settings", json=body)
        assert answer.status_code == 200, answer.text
        held = {key["name"]: key for key in answer.json()["keys"]}[name]
        assert (held["is_pending"], held["origin"]) == (False, str(stack.config))
        if notices is not None:
            assert notices(stack), name

    await asyncio.to_thread(change)


def test_who_leaves_the_development_accounts_is_signed_out(stack):
    import bcrypt

    user = DEV_USER | {"password_hash": bcrypt.hashpw(b"developer-password", bcrypt.gensalt(4)).decode()}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in user.items())
    stack.config.write_text(f"{SEED.read_text()}\n[[auth.dev_users]]\n{lines}\n")
    until(lambda: dev_user_signs_in(stack))
    with httpx.Client(base_url=stack.url, trust_env=False) as client:
        client.post("/api/auth/login", json={"name": "Developer", "password": "developer-password"})
        assert client.get("/api/me").json()["role"] == "admin"
        stack.config.write_text(SEED.read_text())
        until(lambda: client.get("/api/me").status_code == 401)
    assert not dev_user_signs_in(stack)


@pytest.mark.parametrize("path", ["/api/settings", "/api/settings/status", "/api/settings/schema"])
def test_only_admins_see_the_configuration(stack, path):
    assert httpx.get(f"{stack.url}{path}", trust_env=False).status_code == 401
