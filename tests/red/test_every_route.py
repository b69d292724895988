"""A walk over every route, those of plugins included, by whom it does not concern."""

from __future__ import annotations

import re

import pytest
from litestar.routes import HTTPRoute, WebSocketRoute

PUBLIC = {
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/api/auth/state"),
    ("POST", "/api/auth/setup"),
    ("POST", "/api/auth/login"),
}
BODIES = {
    ("PATCH", "/api/sessions/{session_id}"): {"title": "mine now"},
    ("POST", "/api/auth/change-password"): {"current": "x" * 8, "new": "y" * 8},
}


def routes(town):
    """Every `(method, path, handler)` that the application answers; `{name}` stands for a parameter."""
    for route in town.app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                for method in handler.http_methods - {"OPTIONS"}:
                    yield method, re.sub(r"\{(\w+)(:\w+)?\}", r"{\1}", route.path_format), handler


def filled(path: str, value: str) -> str:
    return re.sub(r"\{\w+\}", value, path)


def plain(answer) -> tuple:
    """What an attacker can tell apart, without the id of the request."""
    body = answer.json() if "json" in answer.headers.get("content-type", "") else answer.text
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name != "instance"}
    return answer.status_code, body, answer.headers.get("content-type")


def test_the_walk_sees_the_routes_of_core_and_plugins(town):
    paths = {path for _, path, _ in routes(town)}
    assert {"/api/sessions/{session_id}", "/api/admin/health", "/api/me"} <= paths
    assert any(path.startswith("/api/plugins/eavs/") for path in paths)
    assert len(paths) > 20


def test_a_stranger_is_let_into_the_declared_routes_only(town):
    opened = set()
    for method, path, _handler in routes(town):
        answer = town.ask(method, filled(path, "x"))
        if answer.status_code != 401:
            opened.add((method, path))
            continue
        assert plain(answer)[1]["code"] == "not-signed-in"
    assert opened == PUBLIC


@pytest.mark.parametrize("cookie", ["", "x", "a.b.c", "é", "x" * 100_000])
def test_a_made_up_cookie_is_no_cookie(town, cookie):
    assert town.ask("GET", "/api/me", headers={"cookie": f"oqto={cookie}".encode()}).status_code in (401, 431)


def test_only_an_admin_reaches_the_admin_routes(town):
    admin = [(m, p) for m, p, h in routes(town) if p.startswith("/api/admin") or h.opt.get("admin")]
    assert len(admin) >= 4
    for method, path in admin:
        answer = town.ask(method, filled(path, "x"), "mallory", json={})
        assert answer.status_code == 403, (method, path, answer.text)
        assert answer.json()["code"] == "forbidden"
    assert town.ask("GET", "/api/admin/sessions", "alice").status_code == 200


@pytest.mark.parametrize("who", ["mallory", "alice"])
def test_bobs_session_is_for_others_as_if_it_did_not_exist(town, who):
    """For an admin too: she may end sessions through the admin socket, but not read along."""
    found = 0
    for method, path, _ in routes(town):
        if "{session_id}" not in path:
            continue
        body = BODIES.get((method, path), {})
        theirs = town.ask(method, filled(path, town.session_of_bob), who, json=body)
        missing = town.ask(method, filled(path, "ses_missing"), who, json=body)
        assert theirs.status_code == 404, (method, path, theirs.text)
        assert plain(theirs) == plain(missing)
        found += 1
    assert found >= 5
    assert (
        town.ask("GET", f"/api/sessions/{town.session_of_bob}", "bob").json()["workspace"]
        == "/home/bob/secret"
    )


@pytest.mark.parametrize(
    "name", ["x' or '1'='1", "%", "%2e%2e%2f", "\x00", "ses_of_bob ", "SES_OF_BOB", "ses_of_bo_"]
)
def test_odd_ids_are_missing_ids(town, name):
    from urllib.parse import quote

    assert town.ask("GET", f"/api/sessions/{quote(name, safe='')}", "mallory").status_code == 404


def test_lists_hold_only_what_is_ones_own(town):
    for path in ("/api/sessions", "/api/workspaces", "/api/usage", "/api/me"):
        answer = town.ask("GET", path, "mallory")
        assert answer.status_code == 200
        assert "bob" not in answer.text
    assert "secret" in town.ask("GET", "/api/workspaces", "bob").text
    assert len(town.ask("GET", "/api/sessions", "bob").json()) == 1


def test_the_socket_is_for_the_signed_in(town):
    from litestar.exceptions import WebSocketDisconnect

    sockets = [route.path for route in town.app.routes if isinstance(route, WebSocketRoute)]
    assert sockets == ["/api/ws/mux"]
    for path in sockets:
        town.client.cookies.clear()
        with pytest.raises(WebSocketDisconnect), town.client.websocket_connect(path):
            pass


@pytest.mark.parametrize(
    ("cmd", "fields"),
    [
        ("subscribe", {"after": 0}),
        ("prompt", {"message": "read ~/.ssh"}),
        ("steer", {"message": "x"}),
        ("abort", {}),
        ("get_messages", {}),
        ("get_state", {}),
        ("set_session_name", {"name": "x"}),
        ("session.switch", {"session_path": "/home/bob/x"}),
        ("input_response", {"request_id": "1", "confirmed": True}),
    ],
)
def test_nobody_speaks_to_bobs_agent_over_the_socket(town, cmd, fields):
    answers = []
    town.client.cookies.clear()
    with town.client.websocket_connect("/api/ws/mux", headers=town.as_("mallory")) as socket:
        assert socket.receive_json()["type"] == "connected"
        for session_id in (town.session_of_bob, "ses_missing"):
            socket.send_json({"channel": "agent", "id": "1", "session_id": session_id, "cmd": cmd, **fields})
            answers.append(answer_of(socket))
    assert answers[0]["success"] is False
    assert answers[0]["error"]["code"] == "not-found"
    assert answers[0] == answers[1]


def answer_of(socket):
    """The next answer; what else Mallory hears is of her own sessions, of which there are none."""
    while (answer := socket.receive_json())["channel"] == "system":
        assert answer["sessions"] == []
    answer.pop("session_id")
    return answer


def test_what_a_stranger_reads_of_the_health_names_nothing(town):
    answer = town.ask("GET", "/health/ready")
    assert answer.json() == {"status": "failing"}
    assert "checks" not in town.ask("GET", "/health/ready", "mallory").json()
    assert "checks" in town.ask("GET", "/health/ready", "alice").json()


def test_who_asks_for_what_admins_may_is_recorded(town):
    town.ask("GET", "/api/admin/audit", "mallory")
    (newest,) = town.ask("GET", "/api/admin/audit?event=access.refused&limit=1", "alice").json()["records"]
    assert (newest["actor"], newest["target"], newest["outcome"]) == (
        "mallory",
        "/api/admin/audit",
        "refused",
    )
