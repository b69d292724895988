"""Signing in, cookies, other origins, bodies and paths: what stands between the network and the house."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

PASSWORD = "correct horse battery"
OURS = "http://127.0.0.1"


def log_in(town, name="bob", password=PASSWORD, **headers):
    return town.ask("POST", "/api/auth/login", json={"name": name, "password": password}, headers=headers)


@pytest.fixture(autouse=True)
def forget_failures(town):
    town.services.throttle._failures.clear()


def test_the_cookie_cannot_be_read_by_scripts_nor_sent_by_other_sites(town):
    cookie = log_in(town).headers["set-cookie"]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert any(a.startswith("max-age=") for a in attributes)
    assert not any(a.startswith("domain") for a in attributes)


def test_signing_out_takes_the_token_back_and_not_only_the_cookie(town):
    cookie = {"cookie": f"oqto={log_in(town).cookies['oqto']}"}
    assert town.ask("GET", "/api/me", headers=cookie).status_code == 200
    answer = town.ask("POST", "/api/auth/logout", headers=cookie)
    assert answer.status_code == 204
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    assert town.ask("GET", "/api/me", headers=cookie).status_code == 401


def test_a_wrong_name_and_a_wrong_password_look_and_cost_the_same(town, monkeypatch):
    """Not measured by time: the same argon2 work is done for both."""
    from oqto_platform.auth import passwords

    costs = []
    verify = passwords._verify

    def count(stored, password):
        costs.append((stored.split("$")[1:4], len(password)))
        return verify(stored, password)

    monkeypatch.setattr(passwords, "_verify", count)
    wrong_password, wrong_name = log_in(town, "bob", "wrong wrong"), log_in(town, "nobody", "wrong wrong")
    bodies = [answer.json() | {"instance": ""} for answer in (wrong_password, wrong_name)]
    assert bodies[0] == bodies[1]
    assert (wrong_password.status_code, wrong_name.status_code) == (401, 401)
    assert len(costs) == 2
    assert costs[0] == costs[1]


def test_passwords_are_not_tried_without_end(town):
    codes = [log_in(town, "bob", "wrong wrong").status_code for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2
    refused = log_in(town)
    assert refused.status_code == 429, "the right password must not tell itself by another answer"
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["code"] == "limit-reached"


def test_many_tries_at_once_are_no_more_than_in_a_row(town, monkeypatch):
    """A hundred parallel requests would all pass a check that counts only finished ones."""
    from oqto_platform.auth import passwords

    tried = []
    monkeypatch.setattr(passwords, "_verify", lambda stored, password: bool(tried.append(password)))

    async def storm():
        transport = httpx.ASGITransport(app=town.app)
        async with httpx.AsyncClient(transport=transport, base_url=OURS) as client:
            return await asyncio.gather(
                *(
                    client.post("/api/auth/login", json={"name": "bob", "password": f"guess number {n}"})
                    for n in range(30)
                )
            )

    answers = town.run(storm)
    assert len(tried) <= 5
    assert sorted(answer.status_code for answer in answers) == [401] * len(tried) + [429] * (30 - len(tried))


@pytest.mark.parametrize(
    ("headers", "is_let_in"),
    [
        ({}, True),
        ({"origin": OURS}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": f"{OURS}.evil.example"}, False),
        ({"origin": f"{OURS}:9999"}, False),
        ({"origin": "http://user@127.0.0.1"}, False),
        ({"origin": "http://[::1"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": "https://evil.example", "sec-fetch-site": "same-origin"}, False),
    ],
)
def test_what_other_sites_send_is_refused(town, headers, is_let_in):
    answer = town.ask("PATCH", "/api/sessions/ses_missing", "mallory", json={"title": "x"}, headers=headers)
    assert answer.status_code == (404 if is_let_in else 403), answer.text
    if not is_let_in:
        assert answer.json()["code"] == "forbidden"
    assert answer.headers["x-frame-options"] == "DENY"


def test_reading_needs_no_origin_but_gives_other_sites_nothing(town):
    answer = town.ask("GET", "/api/me", "bob", headers={"origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{OURS}:9999", "http://[::1"])
def test_a_page_of_another_site_opens_no_socket(town, origin):
    from litestar.exceptions import WebSocketDisconnect

    town.client.cookies.clear()
    headers = town.as_("bob") | {"origin": origin}
    with pytest.raises(WebSocketDisconnect), town.client.websocket_connect("/api/ws/mux", headers=headers):
        pass
    with town.client.websocket_connect("/api/ws/mux", headers=town.as_("bob") | {"origin": OURS}) as socket:
        assert socket.receive_json()["type"] == "connected"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "malformed"),
        (b"", 422, "invalid"),
        (b"\xff\xfe", 400, "malformed"),
        (b"[" * 50_000, 400, "malformed"),
        (b"null", 422, "invalid"),
        (b"{}", 422, "invalid"),
        (b'{"name": 5, "password": "x"}', 422, "invalid"),
        (b'{"name": "", "password": "x"}', 422, "invalid"),
        (b'{"name": "a", "password": "x", "role": "admin"}', 422, "invalid"),
    ],
)
def test_a_wrong_body_is_the_senders_mistake(town, content, status, code):
    headers = {"content-type": "application/json"}
    answer = town.ask("POST", "/api/auth/login", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_a_wrong_field_is_named(town):
    answer = town.ask("POST", "/api/auth/login", json={"name": 5, "password": "x"})
    assert "name" in answer.json()["detail"]
    answer = town.ask("POST", "/api/auth/login", json={"name": "a", "password": "x", "role": "admin"})
    assert "role" in answer.json()["detail"]


def test_a_body_over_the_limit_is_refused(town):
    answer = town.ask("POST", "/api/auth/login", json={"name": "bob", "password": "x" * 2**21})
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_what_is_not_there_has_the_same_shape(town):
    missing = town.ask("GET", "/api/nothing", "bob")
    assert (missing.status_code, missing.json()["code"]) == (404, "not-found")
    wrong = town.ask("DELETE", "/api/me", "bob")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method-not-allowed")
    for answer in (missing, wrong):
        assert answer.json()["instance"] == answer.headers["x-request-id"]
        assert answer.json()["type"].startswith("urn:oqto:error:")


def test_a_fault_of_ours_leaks_nothing(town, monkeypatch):
    async def broken(*_):
        raise RuntimeError("SELECT secret FROM /home/bob")

    monkeypatch.setattr(type(town.services.accounts), "get", broken)
    town.client.app_raises = False
    answer = town.ask("GET", "/api/me", "bob")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "SELECT" not in answer.text
    assert "bob" not in answer.text
    assert answer.json()["instance"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/assets/../../app.py",
     "/assets/..%2f..%2fapp.py", "//etc/passwd", "/plugins/../app.py", "/plugins/eavs/../../app.py",
     "/plugins/eavs/..%2f__init__.py", "/assets/%00", "/\\..\\..\\etc\\passwd"],
)  # fmt: skip
def test_no_path_leads_out_of_the_ui(town, path):
    answer = town.ask("GET", path)
    assert answer.status_code in (200, 400, 401, 404)
    assert "root:" not in answer.text
    assert "import annotations" not in answer.text
    if answer.status_code == 200:
        assert answer.headers["content-type"].startswith("text/html")


def test_a_used_or_wrong_setup_link_makes_no_second_admin(town):
    link = town.folder / "state" / "setup-link"
    tokens = ["", "x" * 32, link.read_text().rsplit("/", 1)[1].strip() if link.exists() else "y"]
    for token in tokens[:2]:
        body = {"token": token, "name": "eve", "password": PASSWORD}
        answer = town.ask("POST", "/api/auth/setup", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert town.run(town.services.accounts.password_hash, "eve") is None


def test_the_admin_door_cannot_be_claimed_from_the_network(town):
    for headers in (
        {"x-forwarded-for": "127.0.0.1"},
        {"door": "admin-socket"},
        {"x-oqto-door": "admin-socket"},
    ):
        assert town.ask("GET", "/api/admin/sessions", headers=headers).status_code == 401
    assert (
        town.ask("GET", "/api/admin/sessions", headers={"authorization": "Bearer admin-socket"}).status_code
        == 401
    )


def test_json_is_never_taken_for_a_page(town):
    answer = town.ask("GET", "/api/me", "bob")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert json.loads(answer.text)["name"] == "bob"
