"""A walk over every action on a real server: each leaves its record, told by whom it was done."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from commands import printed
from oqto_runner import recorded

from oqto_platform.audit.events import kinds
from oqto_platform.audit.verify import verify
from oqto_platform.canon import command as commands
from oqto_platform.mux.auditing import LOOKS, record_of
from oqto_platform.testing.mux import mux_client
from oqto_platform.testing.stack import NAME, PASSWORD, Stack

pytestmark = pytest.mark.real

BY_ROUTE = {
    ("POST", "/api/auth/setup"): "account.created",
    ("POST", "/api/auth/login"): "sign-in",
    ("POST", "/api/auth/logout"): "sign-out",
    ("POST", "/api/auth/logout-everywhere"): "sign-out.everywhere",
    ("POST", "/api/auth/change-password"): "account.password_changed",
    ("POST", "/api/workspaces"): "workspace.created",
    ("POST", "/api/sessions"): "session.started",
    ("PATCH", "/api/sessions/{session_id:str}"): "session.renamed",
    ("POST", "/api/sessions/{session_id:str}/stop"): "session.stopped",
    ("POST", "/api/sessions/{session_id:str}/resume"): "session.resumed",
    ("DELETE", "/api/sessions/{session_id:str}"): "session.deleted",
    ("PATCH", "/api/settings"): "config.changed",
    ("POST", "/api/settings/reload"): "config.changed",
    ("POST", "/api/admin/plugins/{plugin:str}/reset"): "plugin.reset",
}
"""Every route of the core that changes something. A new one needs an event, and a step in the walk."""

TRIED_ELSEWHERE = {
    "access.refused",  # tests/red, where there are people who are no admins
    "audit.repaired", "audit.unsealed", "audit.broken",  # tests/unit/test_audit_log.py
    "audit.moved", "audit.continued",  # tests/unit/test_audit_moves.py, tests/real/test_config_effects.py
}  # fmt: skip
NEW_PASSWORD = "another horse entirely"


class Walk:
    """A server, and what its audit log says."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.log = stack.state_dir / "audit.log.jsonl"
        self.session = ""

    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def awaited(self, event: str, **columns) -> dict:
        """The newest record of `event` that has `columns`, as soon as there is one."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for record in reversed(self.records()):
                if record["event"] == event and columns.items() <= record.items():
                    return record
            time.sleep(0.05)
        raise AssertionError(f"no {event} with {columns}; there are {[r['event'] for r in self.records()]}")

    def ask(self, method: str, route: str, status: int, /, **body):
        answer = self.stack.client.request(method, route, json=body or None)
        assert answer.status_code == status, answer.text
        return answer


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    root = tmp_path_factory.mktemp("audited")
    config = root / "config.toml"
    config.write_text("[sessions]\nidle_timeout_minutes = 30\n")
    stack = Stack(
        root,
        plugins=("sandbox", "eavs"),
        env={"OQTO_CONFIG": str(config), "RUST_LOG": "info,oqto.http=debug"},
    )
    with stack:
        walk = Walk(stack)
        walk.config = config
        yield walk


async def spoken(walk: Walk) -> None:
    async with mux_client(walk.stack.url, walk.stack.cookie()) as mux:
        assert (await mux.command(walk.session, "subscribe", after=0))["success"]
        assert (await mux.command(walk.session, "get_state"))["success"]
        assert (await mux.command(walk.session, "prompt", message="ask", client_id="c1"))["success"]
        asked = await mux.until(lambda event: event["event"] == "agent.input_needed")
        answered = {"request_id": asked["request"]["request_id"], "confirmed": True}
        assert (await mux.command(walk.session, "input_response", **answered))["success"]
        await mux.until(lambda event: event["event"] == "agent.idle")


def test_every_route_that_changes_something_has_its_event(monkeypatch, tmp_path):
    monkeypatch.setenv("OQTO_PLUGINS", "none")
    monkeypatch.setenv("HOME", str(tmp_path))
    from oqto_platform.app import MODULES

    unsafe = {
        (method, path)
        for module in MODULES
        for handler in module.HANDLERS
        for path in handler.paths
        for method in getattr(handler, "http_methods", set()) - {"GET", "HEAD", "OPTIONS"}
    }
    assert unsafe == set(BY_ROUTE)
    assert set(BY_ROUTE.values()) <= set(kinds())


def test_every_action_has_words_in_the_web_ui():
    words = (Path(__file__).parents[2] / "frontend/src/i18n/en-admin.ts").read_text()
    assert [name for name in kinds() if f'"event.{name}"' not in words] == []


def test_every_command_of_the_mux_that_changes_something_has_its_record():
    values = {
        "message": "hush", "request_id": "q1", "provider": "p", "model_id": "m", "level": "high",
        "enabled": True, "name": "n", "session_path": "/s", "entry_id": "e", "confirmed": True,
    }  # fmt: skip
    for kind in commands._Command.__subclasses__():
        made = kind(**{name: values[name] for name in kind.__struct_fields__ if name in values})
        record = record_of("ses_1", made)
        assert (record is None) == (kind in LOOKS), kind
        assert "hush" not in repr(record)
    assert {kind.__name__[:3] for kind in LOOKS} == {"Get"}


def test_the_walk(walk):
    steps = [
        (lambda: walk.stack.set_up(), "account.created", {"actor": NAME}),
        (lambda: walk.ask("POST", "/api/auth/login", 401, name=NAME, password="wrong"), "sign-in", {"outcome": "refused", "actor": NAME}),
        (lambda: walk.ask("POST", "/api/auth/login", 401, name="hunter2hunter2", password="x"), "sign-in", {"outcome": "refused"}),
        (lambda: walk.ask("POST", "/api/auth/change-password", 403, current="wrong one", new=NEW_PASSWORD), "account.password_changed", {"outcome": "refused", "actor": NAME}),
        (lambda: walk.ask("POST", "/api/auth/change-password", 200, current=PASSWORD, new=NEW_PASSWORD), "account.password_changed", {"actor": NAME, "door": "cookie"}),
        (lambda: walk.ask("POST", "/api/auth/logout", 204), "sign-out", {"actor": NAME}),
        (lambda: walk.ask("POST", "/api/auth/login", 200, name=NAME, password=NEW_PASSWORD), "sign-in", {"actor": NAME}),
        (lambda: walk.ask("POST", "/api/workspaces", 201, path=f"{walk.stack.home}/fresh", create=True), "workspace.created", {"target": f"{walk.stack.home}/fresh"}),
        (lambda: walk.ask("POST", "/api/sessions", 422, workspace="/nowhere/at/all"), "session.started", {"outcome": "refused"}),
    ]  # fmt: skip
    for act, event, columns in steps:
        before = len(walk.records())
        act()
        assert len(walk.records()) > before, event
        walk.awaited(event, **columns)
    assert "hunter2hunter2" not in walk.log.read_text(), "what was typed for a name may be a password"


def test_the_walk_of_a_session(walk):
    try:
        walk.session = walk.stack.start_session(harness="echo")["id"]
    except RuntimeError as exc:
        if "sandbox" in str(exc).lower():
            pytest.skip(f"no sandbox on this machine: {exc}")
        raise
    session = {"session": walk.session, "actor": NAME}
    started = walk.awaited("session.started", **session)
    assert started["fields"]["workspace"] == str(walk.stack.workspace)
    assert started["request"]
    asyncio.run(spoken(walk))
    assert walk.awaited("session.commanded", **session)["fields"] == {"command": "prompt"}
    assert walk.awaited("session.answered", **session)["fields"]["answer"] == "approved"
    assert "get_state" not in walk.log.read_text()
    # As a plugin of the runner records it, in the runner's own place.
    denied = {"plugin": "sandbox", "event": "egress", "session": walk.session, "outcome": "refused"}
    recorded.write(walk.stack.state_dir / "runner", denied | {"host": "evil.example", "rule": "default"})
    egress = walk.awaited("sandbox.egress", session=walk.session, outcome="refused", door="runner")
    assert egress["fields"]["host"] == "evil.example"
    path = f"/api/sessions/{walk.session}"
    walk.ask("POST", f"{path}/stop", 200)
    walk.awaited("session.stopped", **session)
    assert walk.awaited("session.ended", session=walk.session)["fields"]["reason"] == "asked"
    walk.ask("PATCH", path, 200, title="a private title")
    walk.awaited("session.renamed", **session)
    assert "a private title" not in walk.log.read_text()
    walk.ask("POST", f"{path}/resume", 200)
    walk.awaited("session.resumed", **session)
    walk.ask("POST", f"{path}/resume", 409)
    walk.awaited("session.resumed", outcome="refused")
    walk.ask("DELETE", path, 204)
    walk.awaited("session.deleted", **session)


def test_a_line_of_the_log_says_whose_request_it_was_and_about_which_session(walk):
    lines = [json.loads(line) for line in walk.stack.log.read_text().splitlines() if line.startswith("{")]
    started = walk.awaited("session.started", outcome="refused")
    (line,) = [
        line for line in lines if line.get("request") == started["request"] and line["event"] == "answered"
    ]
    assert (line["route"], line["status"], line["account"]) == ("/api/sessions", 422, started["account"])
    stopped = walk.awaited("session.stopped")
    (line,) = [
        line for line in lines if line.get("request") == stopped["request"] and line["event"] == "answered"
    ]
    assert line["session"] == stopped["session"]


def test_changed_and_refused_configuration(walk):
    walk.config.write_text("[sessions]\nidle_timeout_minutes = 31\n")
    assert walk.awaited("config.changed")["fields"]["keys"] == ["sessions.idle_timeout_minutes"]
    walk.config.write_text("[sessions]\nidle_timeout_minutes = 0\n")
    refused = walk.awaited("config.refused", outcome="refused")
    assert "idle_timeout_minutes" in refused["fields"]["reason"]
    walk.config.write_text("[sessions]\nidle_timeout_minutes = 31\n")


def test_configuration_that_an_admin_changes_over_http(walk):
    for key, value, told in (
        ("sessions.max_concurrent_sessions", 5, "keys"),
        ("runtime.parallelism", 65, "pending"),
    ):
        revision = walk.ask("GET", "/api/settings", 200).json()["revision"]
        walk.ask("PATCH", "/api/settings", 200, revision=revision, values={key: value})
        changed = walk.awaited("config.changed", actor=NAME, door="cookie")
        assert changed["fields"][told] == [key]


def test_a_plugin_that_is_switched_off_from_the_terminal(walk):
    printed(walk.stack, "plugins", "disable", "eavs")
    switched = walk.awaited("plugin.switched", target="eavs")
    assert switched["fields"] == {"state": "off"}
    assert switched["actor"]


def test_a_plugin_that_is_to_be_called_again(walk):
    assert walk.ask("POST", "/api/admin/plugins/eavs/reset", 200).json() == {
        "core": [],
        "runner": [],
        "unreached": "",
    }
    walk.awaited("plugin.reset", target="eavs", actor=NAME)
    assert (
        "no plugin 'nobody' is loaded"
        in walk.ask("POST", "/api/admin/plugins/nobody/reset", 404).json()["detail"]
    )


def test_an_admin_looks_records_up_page_by_page(walk):
    everything, before = [], 0
    while before is not None:
        page = walk.ask("GET", f"/api/admin/audit?limit=4&before={before}", 200).json()
        everything += page["records"]
        before = page["next"]
    newest = everything[0]["seq"]  # the server may have noted something since
    known = [record["seq"] for record in walk.records() if record["seq"] <= newest]
    assert len(known) >= 10
    assert [record["seq"] for record in everything] == known[::-1]
    refused = walk.ask("GET", "/api/admin/audit?outcome=refused&event=sign-in", 200).json()["records"]
    assert {(record["event"], record["outcome"]) for record in refused} == {("sign-in", "refused")}
    assert walk.ask("GET", "/api/admin/audit?since=9999999999999", 200).json()["records"] == []
    assert walk.ask("GET", "/api/admin/audit?limit=0", 422).json()["code"] == "invalid"
    assert walk.ask("GET", "/api/admin/audit/verify", 200).json()["is_whole"] is True


def test_records_that_are_taken_out(walk):
    text = walk.ask("GET", "/api/admin/audit/export?format=csv&event=sign-in", 200).text
    assert text.splitlines()[0].startswith("seq,time,event,actor,")
    assert all(",sign-in," in line for line in text.splitlines()[1:])
    assert len(json.loads(walk.ask("GET", "/api/admin/audit/export?format=json", 200).text)) >= 10
    exported = walk.awaited("audit.exported", actor=NAME)
    assert exported["fields"]["format"] == "json"
    lines = walk.ask("GET", "/api/admin/audit/export", 200).text
    assert walk.log.read_text().startswith(lines)
    assert lines.endswith("\n")


def test_the_end_of_every_sign_in(walk):
    walk.ask("POST", "/api/auth/logout-everywhere", 204)
    walk.awaited("sign-out.everywhere", actor=NAME)


def test_a_log_that_somebody_cut_is_told_by_the_health_report_but_takes_nobody_out(walk):
    walk.stack.client.post(
        "/api/auth/login", json={"name": NAME, "password": NEW_PASSWORD}
    ).raise_for_status()
    whole, sealed = walk.log.read_bytes(), (walk.stack.state_dir / "audit.seal").read_bytes()
    walk.log.write_bytes(b"".join(whole.splitlines(keepends=True)[:-3]))
    walk.ask("POST", "/api/auth/logout", 204)
    walk.awaited("audit.broken", outcome="failed")
    walk.stack.client.post(
        "/api/auth/login", json={"name": NAME, "password": NEW_PASSWORD}
    ).raise_for_status()
    checks = {check["name"]: check for check in walk.ask("GET", "/api/admin/health", 200).json()}
    assert checks["audit log"]["ok"] is False
    assert "oqtoctl audit verify" in checks["audit log"]["repair"]
    assert walk.stack.client.get("/health/ready").status_code == 200
    assert walk.ask("GET", "/api/admin/audit/verify", 200).json()["is_whole"] is False
    walk.log.write_bytes(whole)
    (walk.stack.state_dir / "audit.seal").write_bytes(sealed)


def test_the_walk_left_no_action_out_and_the_chain_whole(walk):
    seen = {record["event"] for record in walk.records()}
    assert set(kinds()) - seen - TRIED_ELSEWHERE == set()
    report = verify(walk.log, walk.stack.state_dir / "audit.seal")
    assert report.findings == []
