"""Another provider answers when the asked one cannot: before the first byte only, each attempt with its own bill."""

from __future__ import annotations

import socket

import pytest
from oqto_plugin_eavs import control
from oqto_plugin_eavs.keys import Grants
from oqto_plugin_eavs.providers import ModelCost, Provider

from oqto_platform.errors import Invalid
from oqto_platform.testing.llm import ScriptedProvider

CHEAP = {"fake-1": ModelCost(input=1, output=2), "other": ModelCost(input=1, output=2)}


@pytest.fixture(scope="module")
def spare():
    with ScriptedProvider(models=("fake-1", "other")) as running:
        yield running


@pytest.fixture
def chained(proxy, provider, spare):
    """`first` with the fallbacks `second` (same model) and `third`, which has it under another name."""
    spare.requests.clear()
    models = ("fake-1", "other")
    proxy.add("second", "openai-compatible", f"{spare.url}/v1", prices=CHEAP, models=models)
    proxy.add("third", "openai-compatible", f"{spare.url}/v1", prices=CHEAP, models=models)
    proxy.add("first", "openai-compatible", f"{provider.url}/v1", fallback=("second", "third/other"))
    return proxy


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [401, 402, 429, 500, 503, 529])
def test_the_next_one_answers_and_the_rows_say_who(chained, provider, spare, status, stream):
    text = f"[[error {status} 1]] [[usage 10 20]] [[say hello]] {stream} {chained.scope}"
    spare._errors[text] = 5  # the spare one has no such trouble
    reply = chained.chat(chained.key(), text, provider="first", stream=stream)
    assert (reply.status_code, reply.headers["x-eavs-provider"]) == (200, "second")
    refused, done = chained.settled(2)
    assert (refused["provider"], refused["status"], refused["outcome"], refused["cost_nusd"]) == (
        "first",
        status,
        "refused",
        0,
    )
    assert (done["provider"], done["status"], done["cost_nusd"]) == ("second", 200, 10 * 1_000 + 20 * 2_000)
    assert done["id"] == f"{refused['id']}-2"
    assert chained.settle() == done["cost_nusd"]


def test_one_that_cannot_be_reached_is_passed_over(chained, spare):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        chained.add("first", "openai-compatible", dead, fallback=("second",))
        assert chained.chat(chained.key(), "hi", provider="first").status_code == 200
    assert [(row["provider"], row["cost_nusd"] > 0) for row in chained.settled(2)] == [
        ("first", False),
        ("second", True),
    ]


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_bad_request_is_the_callers_affair(chained, spare, status):
    reply = chained.chat(chained.key(), f"[[error {status} 1]] {chained.scope}", provider="first")
    assert (reply.status_code, spare.requests) == (status, [])


@pytest.mark.parametrize("fault", ["reset", "garbage"])
def test_what_may_have_reached_a_model_is_not_paid_for_twice(chained, spare, fault):
    reply = chained.chat(chained.key(), f"[[{fault}]] {chained.scope}", provider="first")
    assert (reply.status_code, spare.requests) == (502, [])
    (row,) = chained.settled()
    assert (row["provider"], row["is_estimated"]) == ("first", 1)


def test_nothing_changes_after_the_first_byte(chained, spare):
    reply = chained.chat(chained.key(), f"[[drop]] {chained.scope}", provider="first", stream=True)
    assert "partial" in reply.text
    assert ([row["provider"] for row in chained.settled()], spare.requests) == (["first"], [])


def test_the_last_refusal_reaches_the_caller_unchanged(chained, spare):
    text = f"[[error 503 9]] {chained.scope}"
    reply = chained.chat(chained.key(), text, provider="first")
    assert (reply.status_code, reply.json()["error"]["message"]) == (503, "scripted 503")
    assert [row["provider"] for row in chained.settled(3)] == ["first", "second", "third"]
    assert [row["model"] for row in chained.rows()] == ["fake-1", "fake-1", "other"]
    assert spare.requests[-1].body["model"] == "other"
    assert chained.settle() == 0


def test_a_fallback_needs_money_of_its_own(chained, provider, spare):
    chained.add(
        "second", "openai-compatible", f"{spare.url}/v1", prices={"fake-1": ModelCost(input=900, output=900)}
    )
    reply = chained.chat(chained.key(limit_usd=0.2), f"[[error 500 1]] {chained.scope}", provider="first")
    assert reply.status_code == 402
    assert (len(chained.settled()), spare.requests) == (1, [])


def test_a_key_that_may_not_use_the_fallback_does_not(chained, spare):
    made = chained.ask(
        control.CreateKey(owner=f"account:{chained.name('acc')}", grants=Grants(providers=("first", "third")))
    )
    text = f"[[error 500 1]] {chained.scope}"
    spare._errors[text] = 5
    assert chained.chat(made.secret, text, provider="first").headers["x-eavs-provider"] == "third"


def test_a_call_with_fallbacks_is_one_call_for_its_limits(chained, spare):
    text = f"[[error 500 1]] {chained.scope}"
    spare._errors[text] = 5
    key = chained.key(rpm=2)
    assert chained.chat(key, text, provider="first").status_code == 200
    assert chained.chat(key, "hi").status_code == 200
    assert chained.chat(key, "hi").status_code == 429


def test_patterns_allow_and_deny_models(proxy, provider):
    proxy.add(
        "picky", "openai-compatible", f"{provider.url}/v1",
        models=("fake-1", "fake-2", "odd"), allow_models=("fake-*",), deny_models=("*-2",), aliases={"two": "fake-2"},
    )  # fmt: skip
    (view,) = [p for p in proxy.ask(control.ListProviders()).providers if p.name == "picky"]
    assert view.models == ("fake-1",)
    key = proxy.key()
    statuses = [
        proxy.chat(key, "hi", provider="picky", model=m).status_code
        for m in ("fake-1", "fake-2", "odd", "two")
    ]
    assert statuses == [200, 403, 403, 403]


def test_a_chain_to_itself_is_refused(proxy):
    loop = Provider(name="loop", kind="openai", api_key="k", fallback=("loop/x",))
    with pytest.raises(Invalid, match="names itself"):
        proxy.ask(control.SetProvider(provider=loop, probe=False))


def test_a_key_in_a_file_is_read_at_each_use(proxy, provider, tmp_path):
    secret = tmp_path / "key"
    secret.write_text("sk-one\n")
    proxy.add("filed", "openai-compatible", f"{provider.url}/v1", api_key=f"file:{secret}")
    key = proxy.key()
    assert proxy.chat(key, "hi", provider="filed").status_code == 200
    secret.write_text("sk-two\n")
    assert proxy.chat(key, "hi", provider="filed").status_code == 200
    assert [request.key for request in provider.requests] == ["sk-one", "sk-two"]
    secret.unlink()
    refused = proxy.chat(key, "hi", provider="filed")
    assert (refused.status_code, str(secret) in refused.text) == (503, True)
    assert [row["cost_nusd"] for row in proxy.settled(3)][-1] == 0


@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent?alt=sse", "countTokens"])
def test_a_model_in_the_path_is_renamed_there(proxy, provider, verb):
    proxy.add("gem", "google", f"{provider.url}/v1beta", aliases={"best": "fake-1"})
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    headers = {"x-goog-api-key": proxy.key()}
    proxy.client.post(f"/p/gem/v1beta/models/best:{verb}", headers=headers, json=body)
    assert provider.requests[-1].path == f"/v1beta/models/fake-1:{verb.partition('?')[0]}"
    assert proxy.settled()[0]["model"] == "fake-1"
