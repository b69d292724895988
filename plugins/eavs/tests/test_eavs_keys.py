"""Keys: shown once, named for people, limited in what they may call, ended by time, by hand and by a successor."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oqto_plugin_eavs import admission, control, keys
from oqto_plugin_eavs.keys import Grants, Keys
from oqto_plugin_eavs.ledger import Bill, Ledger, Wallet
from oqto_plugin_eavs.prices import FREE, Tokens
from oqto_plugin_eavs.providers import DEMO
from oqto_plugin_eavs.refusals import Refused
from oqto_plugin_eavs.store import Store
from waiting import until

from oqto_platform.errors import Invalid, NotFound


def create(proxy, owner="acc", **fields):
    owner = f"account:{proxy.name('acc')}" if owner == "acc" else owner
    return proxy.ask(control.CreateKey(owner=owner, **fields))


def test_a_key_has_a_name_for_people_and_its_secret_is_shown_once(proxy):
    made = create(proxy, name="nightly")
    assert re.fullmatch(r"[a-z]+-[a-z]+(-\d+)?", made.key.id)
    assert made.secret.startswith("eavs-")
    (shown,) = proxy.ask(control.ListKeys(account_id=proxy.name("acc"))).keys
    assert (shown.name, made.secret in repr(shown)) == ("nightly", False)
    assert made.secret.encode() not in (proxy.folder / "ledger.db-wal").read_bytes()
    assert proxy.chat(made.secret, "hi").status_code == 200
    assert proxy.rows()[0]["key_id"] == made.key.id


def test_a_budget_of_the_key_is_inside_its_owners(proxy):
    made = create(proxy, limit_nusd=200_000_000)
    assert proxy.chat(made.secret, "[[usage 10 9000]]").status_code == 200
    refused = proxy.chat(made.secret, "hi")
    assert (refused.status_code, "this key" in refused.text) == (402, True)
    views = proxy.ask(control.ListWallets(account_id=proxy.name("acc"))).wallets
    assert {view.kind: view.spent_nusd for view in views}["account"] == 10 * 3_000 + 9000 * 15_000


@pytest.mark.parametrize(
    ("grants", "path", "code"),
    [
        (Grants(models=("gpt-*",)), "/p/fake/v1/chat/completions", "model_not_allowed"),
        (Grants(blocked_models=("fake*",)), "/p/fake/v1/chat/completions", "model_not_allowed"),
        (Grants(models=("fake-1",), blocked_models=("*-1",)), "/v1/chat/completions", "model_not_allowed"),
        (Grants(providers=("openai", "cl*")), "/p/fake/v1/chat/completions", "provider_not_allowed"),
    ],
)
def test_what_a_key_may_not_call_is_refused_and_not_listed(proxy, provider, grants, path, code):
    made = create(proxy, grants=grants)
    headers = {"authorization": f"Bearer {made.secret}"}
    reply = proxy.client.post(path, headers=headers, json={"model": "fake-1", "messages": []})
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, code)
    assert proxy.client.get("/p/fake/v1/models", headers=headers).json()["data"] == []
    assert (proxy.rows(), provider.requests) == ([], [])


def test_an_alias_leads_to_no_blocked_model(proxy, provider):
    proxy.add("nick", "openai-compatible", f"{provider.url}/v1", aliases={"best": "fake-1"})
    blocked = create(proxy, grants=Grants(blocked_models=("fake-1",)))
    assert proxy.chat(blocked.secret, "hi", provider="nick", model="best").status_code == 403
    allowed = create(proxy, grants=Grants(models=("best",)))
    assert proxy.chat(allowed.secret, "hi", provider="nick", model="best").status_code == 200
    assert proxy.chat(allowed.secret, "hi", provider="nick").status_code == 403


def test_an_expired_key_is_refused(proxy):
    made = create(proxy, expires_at=time.time() + 0.5)
    assert proxy.chat(made.secret, "hi").status_code == 200
    until(lambda: proxy.chat(made.secret, "hi").status_code == 401)
    with pytest.raises(Invalid, match="expires_at"):
        create(proxy, expires_at=time.time() - 1)


def test_a_successor_takes_over_wallet_and_rights_at_once_or_after_a_while(proxy):
    first = create(proxy, limit_nusd=10**9, grants=Grants(providers=("fake",)))
    assert proxy.chat(first.secret, "[[usage 10 20]]").status_code == 200
    second = proxy.ask(control.RotateKey(key_id=first.key.id, grace_s=60))
    assert [proxy.chat(made.secret, "hi").status_code for made in (first, second)] == [200, 200]
    assert second.key.spent_nusd == 10 * 3_000 + 20 * 15_000
    third = proxy.ask(control.RotateKey(key_id=second.key.id))
    assert [proxy.chat(made.secret, "hi").status_code for made in (second, third)] == [401, 200]
    assert third.key.grants.providers == ("fake",)


def test_a_key_is_revoked_by_its_owner_and_nobody_elses(proxy):
    made = create(proxy)
    with pytest.raises(NotFound):
        proxy.ask(control.Revoke(key_id=made.key.id, account_id="acc_of_mallory"))
    proxy.ask(control.Revoke(key_id=made.key.id, account_id=proxy.name("acc")))
    assert proxy.chat(made.secret, "hi").status_code == 401


@pytest.mark.parametrize("owner", ["nobody", "account:", "session:x", "workspace:acc_1:relative", "key:none"])
def test_an_owner_that_cannot_be_is_named(proxy, owner):
    with pytest.raises((NotFound, Invalid), match=r"owner|wallet"):
        create(proxy, owner=owner)


def test_a_workspace_has_keys_and_money(proxy):
    owner = f"workspace:{proxy.name('acc')}:/home/alice/site"
    made = create(proxy, owner=owner)
    proxy.ask(control.Limit(wallet=owner, limit_nusd=0))
    assert "this workspace" in proxy.chat(made.secret, "hi").text
    assert made.key.workspace == "/home/alice/site"


def test_keys_of_the_first_version_of_the_file_still_work(tmp_path):
    async def history():
        store = Store(tmp_path / "ledger.db", is_durable=False)
        ledger = Ledger(store)
        await ledger.load()
        await ledger.put_wallet(Wallet("session:s", "session", ledger.wallets["platform"]))
        old = "INSERT INTO keys (hash, id, wallet, name, created_at, rpm, models, providers) VALUES (?,?,?,?,?,?,?,?)"
        await store.write(
            (old, (keys.digest("eavs-old"), "key_1", "session:s", "", 0.0, 7, '["gpt-*"]', "[]"))
        )
        found = Keys(store, ledger)
        await found.load()
        key = found.find("eavs-old")
        await store.close()
        return key

    key = asyncio.run(history())
    assert (key.grants.rates.rpm, key.grants.models) == (7, ("gpt-*",))


def test_no_two_keys_of_all_time_share_a_name(proxy):
    made = [create(proxy) for _ in range(30)]
    proxy.ask(control.Revoke(key_id=made[0].key.id))
    made += [create(proxy) for _ in range(5)]
    assert len({one.key.id for one in made}) == 35
    connection = sqlite3.connect(proxy.folder / "ledger.db")
    (count,) = connection.execute("SELECT count(*) - count(DISTINCT id) FROM keys").fetchone()
    connection.close()
    assert count == 0


NAMES = st.sampled_from(["gpt-4o", "gpt-4o-mini", "claude-x", "fake"])
GLOBS = st.lists(st.sampled_from(["*", "gpt-*", "*mini", "claude-?", "fake", ""]), max_size=3).map(tuple)


@given(allowed=GLOBS, blocked=GLOBS, wanted=NAMES, model=NAMES)
@settings(max_examples=200)
def test_blocking_wins_and_no_list_means_any(allowed, blocked, wanted, model):
    free, strict = Grants(models=allowed), Grants(models=allowed, blocked_models=blocked)
    assert Grants().allows_model(wanted, model)
    assert not Grants(blocked_models=("*",)).allows_model(wanted, model)
    if strict.allows_model(wanted, model):
        assert free.allows_model(wanted, model)


def test_a_folder_of_keys_is_private():
    async def make(folder):
        store = Store(Path(folder) / "ledger.db", is_durable=False)
        await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(make(folder))
        assert (Path(folder) / "ledger.db").stat().st_mode & 0o077 == 0


async def test_a_conversation_that_outlives_its_key_gets_no_more_money(tmp_path):
    store = Store(tmp_path / "ledger.db", is_durable=False)
    ledger = Ledger(store)
    await ledger.load()
    held = Keys(store, ledger)
    wallet = await ledger.put_wallet(Wallet("session:s", "session", ledger.wallets["platform"]))
    key, _ = await held.mint(wallet, name="")
    till = admission.Till(held, ledger, None)
    opening = admission.Opening("r1", key, admission.Choice(DEMO, "demo", FREE), "responses", 0, 1)
    ledger.close_call(await till.open(opening), Bill(Tokens(), 0, "done"))
    await held.revoke(key)
    with pytest.raises(Refused, match="revoked"):
        await till.open(opening)
    await store.close()
