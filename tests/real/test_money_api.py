"""Money over HTTP and `oqtoctl`, on a real server: keys, wallets, groups, reports, metrics, and what is refused."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from oqto_platform.testing.llm import ScriptedProvider
from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.real
BASE = "/api/plugins/eavs"


@pytest.fixture(scope="module")
def provider():
    with ScriptedProvider(require_key="right", models=("fake-1",)) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory, provider):
    with Stack(tmp_path_factory.mktemp("money"), plugins=("eavs",), env={"LAB_KEY": "right"}) as running:
        running.set_up()
        body = {
            "name": "fake",
            "kind": "openai-compatible",
            "base_url": f"{provider.url}/v1",
            "api_key": "right",
        }
        prices = {"fake-1": {"input": 3, "output": 15}}
        made = running.client.post(f"{BASE}/providers", json={**body, "prices": prices})
        assert made.status_code == 201, made.text
        yield running


@pytest.fixture(scope="module")
def get(server):
    def ask(path):
        reply = server.client.get(f"{BASE}{path}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    return ask


@pytest.fixture(scope="module")
def call(server, get):
    url = get("/status")["listens"]

    def chat(secret, text="[[usage 100 200]]"):
        body = {"model": "fake-1", "max_tokens": 5, "messages": [{"role": "user", "content": text}]}
        headers = {"authorization": f"Bearer {secret}"}
        with httpx.Client(trust_env=False) as client:
            return client.post(f"{url}/p/fake/v1/chat/completions", headers=headers, json=body)

    return chat


@pytest.fixture(scope="module")
def billed(server, call):
    """There is something to report."""
    made = server.client.post(f"{BASE}/keys", json={"owner": "platform", "name": "billed"}).json()
    assert call(made["secret"]).status_code == 200


@pytest.fixture
def ctl(server):
    def run(*words, given="", code=0):
        command = [
            str(Path(sys.executable).with_name("oqtoctl")),
            "--admin-socket",
            str(server.root / "oqtoctl.sock"),
        ]
        done = subprocess.run(
            [*command, "eavs", *words], input=given, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


def test_a_key_from_its_making_to_its_end(server, get, call):
    body = {"owner": "platform", "name": "nightly", "limit_usd": 1.0, "grants": {"models": ["fake-*"]}}
    made = server.client.post(f"{BASE}/keys", json=body).json()
    assert call(made["secret"]).status_code == 200
    (shown,) = [key for key in get("/keys") if key["id"] == made["key"]["id"]]
    assert (shown["spent_nusd"], "secret" in shown, made["secret"] in str(shown)) == (3_300_000, False, False)
    rotated = server.client.post(f"{BASE}/keys/{shown['id']}/rotate", json={"grace_s": 0}).json()
    assert [call(secret).status_code for secret in (made["secret"], rotated["secret"])] == [401, 200]
    assert server.client.delete(f"{BASE}/keys/{rotated['key']['id']}").status_code == 204
    assert call(rotated["secret"]).status_code == 401
    names = {row["name"]: row["calls"] for row in get("/usage?by=key")}
    assert (names[shown["id"]], names[rotated["key"]["id"]]) == (1, 1)


def test_the_report_as_a_file_says_the_same_to_the_nano_dollar(server, get, billed):
    (row,) = csv.DictReader(io.StringIO(server.client.get(f"{BASE}/usage.csv?by=model").text))
    (same,) = get("/usage?by=model")
    assert (row["model"], round(float(row["cost_usd"]) * 1e9)) == ("fake/fake-1", same["cost_nusd"])
    assert get(f"/usage?since={time.time() + 60}") == []


def test_prometheus_reads_what_was_billed(server, get, billed):
    text = server.client.get(f"{BASE}/metrics").text
    (same,) = get("/usage?by=provider")
    assert (
        f'eavs_calls_total{{dialect="chat",outcome="done",provider="fake",status="200"}} {same["calls"]}.0'
        in text
    )
    spent = next(
        line for line in text.splitlines() if line.startswith('eavs_cost_usd_total{provider="fake"}')
    )
    assert round(float(spent.split()[-1]) * 1e9) == same["cost_nusd"]


def test_an_account_sees_its_own_and_makes_keys_only_where_that_is_allowed(server, get):
    budget = get("/mine/budget")
    assert budget["may_make_keys"] is False
    refused = server.client.post(f"{BASE}/mine/keys", json={"owner": "platform"})
    assert (refused.status_code, "allow_account_keys" in refused.json()["detail"]) == (403, True)
    assert get("/mine/keys") == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("PUT", "/limits/nobody", {"limit_usd": 1}, 404, "there is no wallet"),
        ("PUT", "/limits/platform", {"limit_usd": 1, "rates": {"rpx": 1}}, 422, "rpx"),
        ("PUT", "/limits/platform", {"limit_usd": 1, "window": "year"}, 422, "window"),
        ("PUT", "/limits/platform", {"limit_usd": -5}, 422, "limit_usd: -5"),
        ("PUT", "/limits/platform", {"limit_usd": 1e11}, 422, "limit_usd: 1e+11"),
        ("PUT", "/limits/platform", {"limit_usd": 1e300}, 422, "limit_usd: 1e+300"),
        ("PUT", "/limits/platform", {"limit_usd": 1, "rates": {"rpm": -3}}, 422, "rpm: -3"),
        ("POST", "/keys", {"owner": "platform", "limit_usd": 1e300}, 422, "limit_usd: 1e+300"),
        ("POST", "/keys", {"owner": "platform", "limit_usd": -1}, 422, "limit_usd: -1"),
        ("POST", "/keys", {"owner": "platform", "grants": {"rates": {"tpm": -1}}}, 422, "tpm: -1"),
        ("POST", "/keys", {"owner": "platform", "expires_at": 1e300}, 422, "expires_at"),
        ("PUT", "/groups/team", {"accounts": ["ghost"]}, 404, "ghost"),
        ("POST", "/keys", {"owner": "platform", "expires_at": 5}, 422, "expires_at"),
        ("POST", "/keys/calm-nobody/rotate", {}, 404, "calm-nobody"),
        ("DELETE", "/keys/calm-nobody", None, 404, "calm-nobody"),
        (
            "POST",
            "/providers",
            {"name": "x", "kind": "openai", "api_key": "file:/etc/shadow"},
            422,
            "oqtoctl",
        ),
        (
            "POST",
            "/providers",
            {"name": "x", "kind": "openai", "api_key": "k", "prices": {"m": {"input": -3, "output": 1}}},
            422,
            "input",
        ),
        (
            "POST",
            "/providers",
            {"name": "x", "kind": "openai", "api_key": "k", "fallback": ["x"]},
            422,
            "itself",
        ),
    ],
)
def test_bad_input_is_refused_in_words_that_name_it(server, method, path, body, status, words):
    reply = server.client.request(method, f"{BASE}{path}", json=body)
    assert (reply.status_code, words in reply.text) == (status, True), reply.text


def test_an_admin_at_the_machine_does_all_of_it_by_command(server, ctl, call, provider, tmp_path):
    secret = ctl("keys", "create", "platform", "--name", "cli", "--usd", "1", "--rpm", "2").strip()
    assert [call(secret).status_code for _ in range(3)] == [200, 200, 429]
    assert "cli" in ctl("keys")
    ctl("limit", "platform", "0.001", "--window", "day")
    assert call(ctl("keys", "create", "platform").strip()).status_code == 402
    ctl("limit", "platform", "inf")
    assert "100 %  platform" in ctl("alerts")
    assert "platform" in ctl("wallets")
    assert ctl("usage", "--by", "model", "--csv").startswith("model,calls,cost_usd")
    assert "there is no wallet" in ctl("limit", "session:nobody", "1", code=1)
    (tmp_path / "key").write_text("right\n")
    added = ctl(
        "providers", "add", "filed", "--kind", "openai-compatible", "--base-url", f"{provider.url}/v1",
        "--key-file", str(tmp_path / "key"), "--fallback", "fake", code=1,
    )  # fmt: skip
    assert "price of 'fake-1' is not known" in added
    assert "variable NOT_THERE, which is not set" in ctl(
        "providers", "add", "envied", "--kind", "openai", "--key-env", "NOT_THERE", code=1
    )
    added = ctl(
        "providers", "add", "envied", "--kind", "openai-compatible", "--base-url", f"{provider.url}/v1",
        "--key-env", "LAB_KEY", "--model", "fake-1", code=1,
    )  # fmt: skip
    assert "price of 'fake-1' is not known" in added


def test_who_changed_what_is_in_the_audit_log(server):
    made = server.client.post(f"{BASE}/keys", json={"owner": "platform", "name": "logged"}).json()
    rotated = server.client.post(f"{BASE}/keys/{made['key']['id']}/rotate", json={"grace_s": 0}).json()
    assert server.client.delete(f"{BASE}/keys/{rotated['key']['id']}").status_code == 204
    assert server.client.put(f"{BASE}/limits/platform", json={"limit_usd": None}).is_success
    log = "".join(path.read_text() for path in server.root.rglob("audit*.jsonl"))
    for event in ("eavs.key_created", "eavs.key_rotated", "eavs.key_revoked", "eavs.limit_set"):
        assert event in log
    assert "eavs-" not in log.replace("oqto-eavs", "")
