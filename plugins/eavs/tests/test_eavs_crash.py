"""`kill -9` at any moment: a reply that ended is never lost, one that had not is billed by rule."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
from contextlib import closing

import pytest
from oqto_plugin_eavs import control
from oqto_plugin_eavs.providers import Provider
from waiting import until

from oqto_platform.errors import Invalid


def open_stream(proxy, key, text):
    body = json.dumps(
        {"model": "fake-1", "stream": True, "messages": [{"role": "user", "content": text}]}
    ).encode()
    path = "/p/fake/v1/chat/completions"
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    client = socket.create_connection(("127.0.0.1", proxy.port))
    client.sendall(head.encode() + body)
    return client


def test_a_call_cut_by_a_crash_is_billed_at_what_was_set_aside(own_proxy, provider):
    key = own_proxy.key()
    with open_stream(own_proxy, key, "[[slow 100 0.2]]") as client:
        assert b"200 OK" in client.recv(100)
        (pending,) = own_proxy.rows()
        assert pending["state"] == "pending"
        own_proxy.kill()
    own_proxy.start()
    (row,) = own_proxy.rows()
    assert (row["state"], row["outcome"], row["is_estimated"]) == ("settled", "crash", 1)
    assert row["cost_nusd"] == row["hold_nusd"] > 0
    assert own_proxy.settle() == row["cost_nusd"]


def test_keys_wallets_and_providers_survive_a_crash(own_proxy, provider):
    key = own_proxy.key()
    assert own_proxy.chat(key, "[[usage 100 50]]").status_code == 200
    own_proxy.kill()
    own_proxy.start()
    assert own_proxy.chat(key, "[[usage 100 50]]").status_code == 200
    assert provider.requests[-1].headers["authorization"] == "Bearer sk-canary-of-the-provider"
    assert own_proxy.settle() == 2 * (100 * 3_000 + 50 * 15_000)


def test_no_reply_that_ended_is_lost(own_proxy, provider):
    """Many clients call until the process dies under them; every complete reply has its row."""
    key, finished = own_proxy.key(limit_usd=None), []

    def call_until_it_breaks(number):
        while True:
            try:
                reply = own_proxy.chat(key, f"[[usage {number} 7]]", stream=bool(number % 2))
            except Exception:
                return
            assert reply.status_code == 200
            finished.append(number)

    callers = [threading.Thread(target=call_until_it_breaks, args=(number,)) for number in range(1, 9)]
    for caller in callers:
        caller.start()
    until(lambda: len(finished) >= 100, timeout_s=30)
    own_proxy.kill()
    for caller in callers:
        caller.join(20)
    own_proxy.start()
    for number in range(1, 9):
        rows = [row for row in own_proxy.rows() if row["input"] == number and row["outcome"] == "done"]
        assert len(rows) >= finished.count(number)
    assert own_proxy.rows("state = 'pending'") == []


def test_an_orderly_end_bills_open_calls_and_leaves_no_socket(own_proxy, provider):
    with open_stream(own_proxy, own_proxy.key(), "[[slow 100 0.2]]") as client:
        assert b"200 OK" in client.recv(100)
        own_proxy.process.terminate()
        assert own_proxy.process.wait(3) == 0
    (row,) = own_proxy.rows()
    assert (row["state"], row["outcome"]) == ("settled", "shutdown")
    assert not list(own_proxy.folder.glob("*.sock"))


def test_secrets_are_private_and_not_in_the_open(own_proxy, provider):
    key = own_proxy.key()
    assert own_proxy.chat(key, "a prompt-canary here").status_code == 200
    for path in own_proxy.folder.iterdir():
        name = path.name
        if name != "log":
            assert path.stat().st_mode & 0o077 == 0, name
        if path.is_file():
            data = path.read_bytes()
            assert b"sk-canary-of-the-provider" not in data, name
            assert key.encode() not in data, name
            assert b"prompt-canary" not in data, name
    shown = repr(own_proxy.ask(control.ListProviders())) + repr(own_proxy.ask(control.ListKeys()))
    assert "canary" not in shown
    assert key not in shown


def test_a_second_proxy_on_the_same_folder_refuses_to_start(own_proxy):
    import subprocess
    import sys

    argv = [sys.executable, "-m", "oqto_plugin_eavs", "serve", "--state-dir", str(own_proxy.folder)]
    second = subprocess.run([*argv, "--listen", "127.0.0.1:1"], capture_output=True, text=True, timeout=20)
    assert second.returncode == 2
    assert "already runs" in second.stderr
    assert own_proxy.answers()


def test_changing_providers_cuts_no_stream(own_proxy, provider):
    with open_stream(own_proxy, own_proxy.key(), "[[usage 10 20]] [[slow 10 0.1]]") as client:
        client.settimeout(10)
        data = client.recv(100)
        own_proxy.ask(control.DropProvider(name="fake"))
        other = Provider(
            name="fake", kind="openai-compatible", base_url="http://127.0.0.1:9/v1", models=("x",)
        )
        own_proxy.ask(control.SetProvider(provider=other, probe=False))
        while b"[DONE]" not in data:
            data += client.recv(65536)
    assert own_proxy.settled()[0]["cost_nusd"] == 10 * 3_000 + 20 * 15_000


MANY = """WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO calls (id, wallet, account, workspace, key_id, provider, model, dialect, priced_as, state, hold_nusd, cost_nusd, started_at)
SELECT 'c' || i, 'session:ses_0123456789_' || i, 'acc', '/w', 'k', 'fake', 'm', 'chat', 'x', 'settled', 1, 5, 1.0 FROM n"""


def test_a_report_of_many_sessions_comes_whole_or_says_what_to_ask(own_proxy):
    with closing(sqlite3.connect(own_proxy.folder / "ledger.db", timeout=10)) as ledger, ledger:
        ledger.execute(MANY, (1, 100_000))
    rows = own_proxy.ask(control.Report(by="session")).rows
    assert (len(rows), sum(row.cost_nusd for row in rows)) == (100_000, 500_000)
    with closing(sqlite3.connect(own_proxy.folder / "ledger.db", timeout=10)) as ledger, ledger:
        ledger.execute(MANY, (100_001, 200_001))
    with pytest.raises(Invalid, match="ask for fewer days"):
        own_proxy.ask(control.Report(by="session"))
    assert own_proxy.ask(control.Report(by="model")).rows[0].calls == 200_001


def test_headers_of_a_provider_are_sealed_like_its_key(own_proxy, provider):
    own_proxy.add(
        "fake", "openai-compatible", f"{provider.url}/v1", headers={"x-team": "canary-of-the-header"}
    )
    for _ in range(2):
        assert own_proxy.chat(own_proxy.key(), "hi").status_code == 200
        assert provider.requests[-1].headers["x-team"] == "canary-of-the-header"
        assert all(b"canary" not in file.read_bytes() for file in own_proxy.folder.glob("ledger*"))
        own_proxy.kill()
        own_proxy.start()


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"torn")])
def test_without_the_key_file_everything_works_but_the_providers_it_sealed(own_proxy, provider, damage):
    key = own_proxy.key()
    own_proxy.kill()
    damage(own_proxy.folder / "vault.key")
    own_proxy.start()
    refused = own_proxy.chat(key, "hi")
    assert (refused.status_code, "again" in refused.json()["error"]["message"]) == (503, True)
    failing = {check.name for check in own_proxy.ask(control.HealthCheck()).checks if not check.ok}
    assert "provider fake" in failing
    (own_proxy.folder / "vault.key").unlink(missing_ok=True)
    own_proxy.add("fake", "openai-compatible", f"{provider.url}/v1")
    assert own_proxy.chat(key, "hi").status_code == 200


def test_a_key_in_the_servers_environment_is_read_there_and_follows_it(own_proxy, provider):
    fields = {
        "kind": "openai-compatible",
        "base_url": f"{provider.url}/v1",
        "models": ("fake-1",),
        "allow_unpriced": True,
    }
    elsewhere = Provider(name="env", api_key="env:LAB_KEY", **fields)
    with pytest.raises(Invalid, match="variable LAB_KEY, which is not set"):
        own_proxy.ask(control.SetProvider(provider=elsewhere, probe=False))
    own_proxy.ask(control.SetProvider(provider=elsewhere, probe=False, environment={"LAB_KEY": "canary-1"}))

    def sent():
        assert own_proxy.chat(own_proxy.key(), "hi", provider="env").status_code == 200
        assert b"canary" not in (own_proxy.folder / "ledger.db-wal").read_bytes()
        return provider.requests[-1].key

    assert sent() == "canary-1"
    own_proxy.kill()
    own_proxy.start()
    assert sent() == "canary-1"
    assert own_proxy.ask(control.Configure()).wants == ("LAB_KEY",)
    own_proxy.ask(control.SetEnvironment(environment={"LAB_KEY": "canary-2"}))
    assert sent() == "canary-2"
    own_proxy.ask(control.DropProvider(name="env"))
    assert own_proxy.ask(control.Configure()).wants == ()
