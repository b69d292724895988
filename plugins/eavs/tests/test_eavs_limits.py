"""Limits beside money: calls and tokens per minute, calls per day, at the same time; per key and per wallet."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oqto_plugin_eavs import control
from oqto_plugin_eavs.keys import Grants
from oqto_plugin_eavs.rates import MINUTE_S, Flow, Rates
from waiting import until

HELLO = [{"role": "user", "content": "hi"}]
PATHS = {
    "messages": ("/p/claude/v1/messages", {"messages": HELLO, "max_tokens": 9}),
    "responses": ("/p/openai/v1/responses", {"input": "hi"}),
    "gemini": ("/p/gemini/v1beta/models/fake-1:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}),
}
PI_RETRIES = re.compile(
    r"429|rate.?limit|too many requests|overloaded|5\d\d|terminated|server.?error", re.IGNORECASE
)


def limit(proxy, wallet, **rates):
    proxy.ask(control.Limit(wallet=wallet, rates=Rates(**rates)))


@pytest.mark.parametrize("dialect", PATHS)
def test_too_many_calls_are_refused_in_the_callers_dialect_with_the_time_to_wait(proxy, provider, dialect):
    key = proxy.key(rpm=1)
    path, body = PATHS[dialect]
    headers = {"x-api-key": key}
    assert proxy.client.post(path, json={"model": "fake-1", **body}, headers=headers).status_code == 200
    refused = proxy.client.post(path, json={"model": "fake-1", **body}, headers=headers)
    error = refused.json()["error"]
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    limited = {name: value for name, value in refused.headers.items() if name.startswith("x-ratelimit")}
    assert (limited.pop("x-ratelimit-reset-requests").endswith("s"), limited) == (
        True, {"x-ratelimit-limit-requests": "1", "x-ratelimit-remaining-requests": "0"},
    )  # fmt: skip
    assert "this session" in error["message"]
    kinds = {"messages": ("type", "rate_limit_error"), "gemini": ("status", "RESOURCE_EXHAUSTED")}
    name, kind = kinds.get(dialect, ("type", "rate_limit_error"))
    assert error[name] == kind
    assert (len(provider.requests), len(proxy.rows())) == (1, 1)


def test_agents_take_a_limit_for_something_to_wait_for(proxy):
    key = proxy.key(rpm=1)
    proxy.chat(key, "hi")
    assert PI_RETRIES.search(f"{proxy.chat(key, 'hi').status_code}")


def test_a_new_key_of_a_session_does_not_bring_new_calls(proxy):
    assert proxy.chat(proxy.key(rpm=2), "hi").status_code == 200
    assert proxy.chat(proxy.key(rpm=2), "hi").status_code == 200
    assert proxy.chat(proxy.key(rpm=2), "hi").status_code == 429


@pytest.mark.parametrize("whose", ["account", "workspace", "group"])
def test_a_limit_holds_for_everything_inside_a_wallet(proxy, whose):
    account = proxy.name("acc")
    mint = control.Mint(session_id=proxy.name("ses"), account_id=account, workspace="/w", limit_nusd=10**9)
    first = proxy.ask(mint).key
    wallets = {
        "account": f"account:{account}",
        "workspace": f"workspace:{account}:/w",
        "group": f"group:g{proxy.scope}",
    }
    if whose == "group":
        proxy.ask(control.SetGroup(name=f"g{proxy.scope}", accounts=(account,)))
    limit(proxy, wallets[whose], rpm=1)
    second = proxy.ask(control.Mint(session_id="other", account_id=account, workspace="/w")).key
    assert proxy.chat(first, "hi").status_code == 200
    refused = proxy.chat(second, "hi")
    assert (refused.status_code, f"this {whose}" in refused.text) == (429, True)


def test_calls_at_the_same_time(proxy, provider):
    key = proxy.key()
    limit(proxy, f"session:{proxy.name('ses')}", concurrent=2)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(proxy.chat, key, f"[[slow 3 0.3]] {n}", stream=True) for n in range(2)]
        until(lambda: len(provider.requests) == 2)
        refused = proxy.chat(key, "one more")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert [task.result().status_code for task in running] == [200, 200]
    assert proxy.chat(key, "now").status_code == 200


def test_a_limit_that_comes_while_calls_run_counts_them(proxy, provider):
    key = proxy.key()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(proxy.chat, key, "[[slow 3 0.3]]", stream=True)
        until(lambda: len(provider.requests) == 1)
        limit(proxy, f"session:{proxy.name('ses')}", concurrent=1)
        assert proxy.chat(key, "hi").status_code == 429
        assert running.result().status_code == 200
    assert proxy.chat(key, "hi").status_code == 200


def answers(client, key):
    """The statuses of calls that arrive in one piece on one connection, as agents send them; without end."""
    body = json.dumps({"model": "fake-1", "messages": HELLO}).encode()
    head = f"POST /p/fake/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    while True:
        client.sendall(request)
        reply = http.client.HTTPResponse(client)
        reply.begin()
        reply.read()
        yield reply.status


@pytest.mark.parametrize("whose", ["session", "account"])
def test_a_limit_counts_from_the_next_call_of_a_client_that_has_called_before(proxy, whose):
    wallet = f"{whose}:{proxy.name('ses' if whose == 'session' else 'acc')}"
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        statuses = answers(client, proxy.key())
        assert [next(statuses) for _ in range(3)] == [200] * 3
        limit(proxy, wallet, rpm=1)
        assert [next(statuses) for _ in range(2)] == [200, 429]
        limit(proxy, wallet)
        assert [next(statuses) for _ in range(2)] == [200, 200]


def test_tokens_are_counted_as_the_provider_counted_them(proxy):
    key = proxy.key()
    limit(proxy, f"session:{proxy.name('ses')}", tpm=1_000)
    assert proxy.chat(key, "[[usage 2000 1000]]").status_code == 200
    refused = proxy.chat(key, "hi")
    assert (refused.status_code, "tokens" in refused.json()["error"]["message"]) == (429, True)
    assert 60 <= int(refused.headers["retry-after"]) <= 185


def test_calls_of_a_day_survive_a_restart(own_proxy):
    key = own_proxy.key(rpm=3)
    limit(own_proxy, f"account:{own_proxy.name('acc')}", rpd=4)
    assert [own_proxy.chat(key, "hi").status_code for _ in range(3)] == [200] * 3
    own_proxy.kill()
    own_proxy.start()
    refused = own_proxy.chat(key, "hi")
    assert (refused.status_code, "in a minute for this session" in refused.text) == (429, True)
    limit(own_proxy, f"session:{own_proxy.name('ses')}", rpm=1_000)
    assert own_proxy.chat(key, "hi").status_code == 200
    assert "today for this account" in own_proxy.chat(key, "hi").text


def test_a_key_has_limits_of_its_own(proxy):
    grants = Grants(rates=Rates(rpm=1))
    made = proxy.ask(control.CreateKey(owner=f"account:{proxy.name('acc')}", grants=grants))
    assert proxy.chat(made.secret, "hi").status_code == 200
    assert "for this key" in proxy.chat(made.secret, "hi").text
    assert proxy.chat(proxy.key(), "hi").status_code == 200


def test_a_refused_call_takes_no_place(proxy):
    key = proxy.key(limit_usd=0.0001, rpm=1)
    assert [proxy.chat(key, "hi").status_code for _ in range(2)] == [402, 402]
    proxy.ask(control.Limit(wallet=f"session:{proxy.name('ses')}", limit_nusd=10**9))
    assert proxy.chat(key, "hi").status_code == 200


def test_listing_models_counts_as_a_call(proxy):
    headers = {"authorization": f"Bearer {proxy.key(rpm=1)}"}
    assert proxy.client.get("/p/fake/v1/models", headers=headers).status_code == 200
    assert proxy.client.get("/p/fake/v1/models", headers=headers).status_code == 429


@given(
    rates=st.builds(Rates, rpm=st.integers(0, 30), tpm=st.integers(0, 5_000), rpd=st.integers(0, 50)),
    steps=st.lists(st.tuples(st.floats(0, 90), st.integers(1, 3_000)), max_size=60),
)
def test_whoever_waits_as_asked_is_let_through_and_no_minute_has_too_much(rates, steps):
    flow, now, taken = Flow(rates), 1_000.0, []
    for pause, tokens in steps:
        now += pause
        while (wait := flow.wait(now, now, tokens)) is not None:
            assert wait.seconds > 0
            now += wait.seconds
        flow.take(now, now, tokens)
        flow.end()
        taken.append(now)
        if rates.rpm:
            recent = [at for at in taken if at > now - MINUTE_S]
            assert len(recent) <= 2 * rates.rpm  # a burst of one minute's worth, and one minute's flow
        if rates.rpd:
            assert sum(at // 86_400 == now // 86_400 for at in taken) <= rates.rpd


def test_a_clock_set_back_opens_no_new_day():
    flow = Flow(Rates(rpd=1))
    flow.take(0, 5 * 86_400, 1)
    flow.end()
    assert flow.wait(0, 4 * 86_400, 1) is not None
    assert flow.wait(0, 6 * 86_400, 1) is None


def test_no_refusal_about_money_asks_for_a_retry(proxy):
    for path, body in PATHS.values():
        headers = {"x-api-key": proxy.key(limit_usd=0.0001)}
        refused = proxy.client.post(path, json={"model": "fake-1", **body}, headers=headers)
        sentence = json.dumps(refused.json()["error"]["message"])
        assert (refused.status_code, refused.headers["x-should-retry"]) == (402, "false")
        assert not PI_RETRIES.search(sentence)
        assert proxy.rows() == []
