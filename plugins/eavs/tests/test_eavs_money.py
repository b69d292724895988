"""Every reply is billed, to the nano-dollar of what the provider counted, in every dialect and shape."""

from __future__ import annotations

import concurrent.futures

import httpx
import pytest
from oqto_plugin_eavs import control

CALLS = {
    "chat": ("/p/fake/v1/chat/completions", "authorization"),
    "messages": ("/p/claude/v1/messages", "x-api-key"),
    "responses": ("/p/openai/v1/responses", "api-key"),
    "gemini": ("/p/gemini/v1beta/models/fake-1:generateContent", "x-goog-api-key"),
}


def request(dialect, text, *, stream):
    path, _ = CALLS[dialect]
    if dialect == "gemini":
        path = path.replace(":generate", ":streamGenerate") + "?alt=sse" if stream else path
        return path, {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    body = {"model": "fake-1", "stream": stream, "max_tokens": 1000}
    return path, body | (
        {"input": text} if dialect == "responses" else {"messages": [{"role": "user", "content": text}]}
    )


def headers(dialect, key):
    name = CALLS[dialect][1]
    return {name: f"Bearer {key}" if name == "authorization" else key}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", CALLS)
@pytest.mark.parametrize("shape", ["", "[[bytewise]]", "[[crlf]]", "[[usageall]]"])
def test_a_row_equals_the_providers_count(proxy, provider, cost_of, dialect, stream, shape):
    written = 0 if dialect == "gemini" else 200  # Gemini counts what it caches as prompt
    counts = f"[[usage 1000 500 300 {written} 100]]"
    path, body = request(dialect, f"{shape} {counts} [[say hello to you]]", stream=stream)
    reply = proxy.client.post(path, json=body, headers=headers(dialect, proxy.key()))
    assert reply.status_code == 200
    (row,) = proxy.rows()
    assert row["cost_nusd"] == cost_of(provider.requests[0].usage)
    assert (row["state"], row["outcome"], row["is_estimated"]) == ("settled", "done", 0)
    assert (row["output"], row["reasoning"]) == (500, 0 if dialect == "messages" else 100)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", CALLS)
def test_a_reply_without_counts_is_estimated_and_never_free(proxy, dialect, stream):
    path, body = request(dialect, f"[[nousage]] [[say {'word ' * 100}]]", stream=stream)
    assert proxy.client.post(path, json=body, headers=headers(dialect, proxy.key())).status_code == 200
    (row,) = proxy.rows()
    assert row["is_estimated"] == 1
    assert row["cost_nusd"] > 100 * 15_000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", CALLS)
@pytest.mark.parametrize("counts", ["-1000 -5000", "1000 -5000", "99999999999999999999 5"])
def test_counts_that_cannot_be_are_not_believed(proxy, dialect, stream, counts):
    """Less than nothing would pay money back, and sums of such numbers fit no ledger."""
    path, body = request(dialect, f"[[usage {counts}]] [[say {'word ' * 100}]]", stream=stream)
    assert proxy.client.post(path, json=body, headers=headers(dialect, proxy.key())).status_code == 200
    (row,) = proxy.settled()
    assert (row["state"], row["is_estimated"]) == ("settled", 1)
    assert 100 * 15_000 < row["cost_nusd"] < 20_000 * 15_000


def test_more_replies_than_any_vendor_gives_are_refused(proxy, provider):
    """Money would be set aside for each, and that much fits no ledger."""
    key = proxy.key(limit_usd=None)
    for wanted in (0, -4, 10**15, 10**20):
        assert proxy.chat(key, "hi", n=wanted).status_code == 400
    many = {"contents": [], "generationConfig": {"candidateCount": 10**15}}
    path, given = CALLS["gemini"][0], headers("gemini", key)
    assert proxy.client.post(path, json=many, headers=given).json()["error"]["status"] == "INVALID_ARGUMENT"
    assert (proxy.rows(), provider.requests) == ([], [])


def test_gemini_says_elsewhere_for_how_much_money_is_set_aside(proxy, provider):
    path, body = request("gemini", "hi", stream=False)
    wish = {"maxOutputTokens": 100, "candidateCount": 2, "responseSchema": {"type": "OBJECT"}}
    body |= {"generationConfig": wish}
    given = headers("gemini", proxy.key())
    assert proxy.client.post(path, json=body, headers=given).status_code == 200
    held = proxy.rows()[0]["hold_nusd"]
    assert 200 * 15_000 < held < 300 * 15_000
    long = {
        "contents": [{"parts": [{"text": "x" * 2**21}]}],
        "generationConfig": wish | {"responseSchema": {"e": "y" * 5000}},
    }
    assert proxy.client.post(path, json=long, headers=given).status_code == 200


@pytest.mark.parametrize("dialect", CALLS)
def test_a_stream_passes_byte_for_byte(proxy, provider, dialect):
    path, body = request(dialect, "[[think one two]] [[say hello]]", stream=True)
    through = proxy.client.post(path, json=body, headers=headers(dialect, proxy.key())).content
    if dialect == "chat":
        body["stream_options"] = {"include_usage": False}
    direct_path = "/v1" + path.split("/v1", 1)[1]
    direct = httpx.post(provider.url + direct_path, json=body, trust_env=False).content
    assert without_ids(through) == without_ids(direct)


def without_ids(data):
    import re

    data = re.sub(rb'"(id|item_id|responseId)": "[^"]*"', b"", data)
    return re.sub(rb'"(created|created_at)": \d+', b"", data)


def test_the_added_usage_chunk_is_taken_out_again_only_when_it_was_added(proxy, provider):
    key = proxy.key()
    without = proxy.chat(key, "[[say hi]]", stream=True).text
    assert '"usage"' not in without
    assert provider.requests[-1].body["stream_options"] == {"include_usage": True}
    wanted = proxy.chat(key, "[[say hi]]", stream=True, stream_options={"include_usage": True}).text
    assert '"prompt_tokens": 10' in wanted


@pytest.mark.parametrize("size", [10, 3 * 2**20])
def test_a_provider_that_knows_no_stream_options_never_gets_them(proxy, provider, size):
    proxy.add("mistral", "mistral", f"{provider.url}/v1")
    options = {"stream_options": {"include_usage": True}, "user": "x" * size}
    reply = proxy.chat(proxy.key(), "[[usageall]] [[usage 10 5]] [[say hi]]", provider="mistral", stream=True, **options)  # fmt: skip
    assert (reply.status_code, "hi" in reply.text) == (200, True)
    assert not provider.requests[0].body.get("stream_options")
    assert proxy.settled()[0]["cost_nusd"] == 10 * 3_000 + 5 * 15_000


def test_a_whole_reply_says_what_it_cost(proxy):
    reply = proxy.chat(proxy.key(), "[[usage 100 50]] [[say hi]]")
    assert reply.headers["x-eavs-cost"] == "0.001050000"


def test_an_unchanged_request_reaches_the_provider_as_the_same_bytes(proxy, provider):
    raw = b'{"model":  "fake-1","messages":[{"role":"user","content":"hi \\u00fc 1.50"}] , "x":1.0}'
    key = proxy.key()
    proxy.client.post("/p/fake/v1/chat/completions", content=raw, headers={"authorization": f"Bearer {key}"})
    assert provider.requests[0].raw == raw


def test_two_hundred_calls_on_money_for_ten(proxy, provider):
    call_costs = 8_192 * 15_000
    key = proxy.key(limit_usd=10.5 * call_costs / 1e9)
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        tasks = [pool.submit(proxy.chat, key, f"[[usage 10 8192]] [[slow 2 0.1]] {n}") for n in range(200)]
        statuses = [task.result().status_code for task in tasks]
    assert statuses.count(200) == len(provider.requests) == 10
    assert statuses.count(200) + statuses.count(402) == 200
    assert sum(row["cost_nusd"] for row in proxy.settled(10)) <= 10.5 * call_costs


def test_money_is_one_purse_for_the_sessions_of_an_account(proxy):
    first, second = proxy.key("first"), proxy.key("second")
    proxy.ask(control.Limit(wallet=f"account:{proxy.name('acc')}", limit_nusd=200_000_000))
    assert proxy.chat(first, "[[usage 10 9000]]").status_code == 200
    refused = proxy.chat(second, "hi")
    assert refused.status_code == 402
    assert "this account" in refused.json()["error"]["message"]
    proxy.ask(control.Limit(wallet=f"account:{proxy.name('acc')}", limit_nusd=2_000_000_000))
    assert proxy.chat(second, "hi").status_code == 200


def test_a_refusal_about_money_gives_agents_no_reason_to_retry(proxy):
    reply = proxy.chat(proxy.key(limit_usd=0.0001), "hi")
    sentence = reply.json()["error"]["message"]
    assert (reply.status_code, reply.headers["x-should-retry"]) == (402, "false")
    assert not any(character.isdigit() for character in sentence)
    assert not any(
        word in sentence.lower()
        for word in ("rate limit", "overloaded", "terminated", "server error", "timeout")
    )
    assert proxy.rows() == []


def test_a_new_key_spends_from_the_old_wallet(proxy):
    assert proxy.chat(proxy.key(), "[[usage 100 50]]").status_code == 200
    before = proxy.settle()
    again = proxy.key()
    assert proxy.chat(again, "[[usage 100 50]]").status_code == 200
    assert proxy.settle() == 2 * before
    assert proxy.settle() == 2 * before


def test_a_settled_session_has_no_key(proxy):
    key = proxy.key()
    proxy.settle()
    assert proxy.chat(key, "hi").status_code == 401


def test_a_reply_that_outgrows_the_money_is_cut(proxy):
    key = proxy.key(limit_usd=0.13)
    text = proxy.chat(key, "[[nousage]] [[slow 20000 0]]", stream=True).text
    assert "used up" in text
    assert "[DONE]" not in text
    (row,) = proxy.settled()
    assert row["outcome"] == "cut"
    assert row["cost_nusd"] <= 130_000_000 * 1.02
