"""The vendors' own Python clients, unmodified, against the proxy."""

from __future__ import annotations

import json

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

ASK = [{"role": "user", "content": "[[usage 100 50]] [[say hello there]]"}]
TOOL_ASK = '[[tool weather {"city": "Bern"}]]'
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
PAID = 100 * 3_000 + 50 * 15_000


@pytest.fixture
def clients(proxy):
    """One client of each vendor, with a key each that they send their own way."""
    key = proxy.key()
    settings = {"api_key": key, "max_retries": 0}
    with (
        openai.OpenAI(base_url=f"{proxy.url}/p/openai/v1", **settings) as of_openai,
        anthropic.Anthropic(base_url=f"{proxy.url}/p/claude", **settings) as of_anthropic,
    ):
        options = genai_types.HttpOptions(base_url=f"{proxy.url}/p/gemini")
        of_google = genai.Client(api_key=key, http_options=options, vertexai=False)
        yield of_openai, of_anthropic, of_google
        of_google.close()


def paid(proxy):
    return [row["cost_nusd"] for row in proxy.settled()]


@pytest.mark.parametrize("is_stream", [False, True])
def test_openai_chat(proxy, clients, is_stream):
    asked = clients[0].chat.completions.create(model="fake-1", messages=ASK, stream=is_stream)
    text = asked.choices[0].message.content if not is_stream else ""
    if is_stream:
        chunks = list(asked)
        assert all(chunk.usage is None for chunk in chunks)
        text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
    assert text == "hello there"
    assert paid(proxy) == [PAID]


def test_openai_chat_with_counts_asked_for(proxy, clients):
    options = {"include_usage": True}
    chunks = list(
        clients[0].chat.completions.create(model="fake-1", messages=ASK, stream=True, stream_options=options)
    )
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (100, 50)


@pytest.mark.parametrize("is_stream", [False, True])
def test_openai_responses(proxy, clients, is_stream):
    if is_stream:
        with clients[0].responses.stream(model="fake-1", input=ASK) as stream:
            reply = stream.get_final_response()
    else:
        reply = clients[0].responses.create(model="fake-1", input=ASK)
    assert (reply.output_text, reply.usage.output_tokens) == ("hello there", 50)
    assert paid(proxy) == [PAID]


@pytest.mark.parametrize("is_stream", [False, True])
def test_anthropic_messages(proxy, clients, is_stream):
    asked = {"model": "fake-1", "max_tokens": 90, "messages": ASK}
    if is_stream:
        with clients[1].messages.stream(**asked) as stream:
            reply = stream.get_final_message()
    else:
        reply = clients[1].messages.create(**asked)
    assert (reply.content[0].text, reply.usage.output_tokens) == ("hello there", 50)
    assert paid(proxy) == [PAID]


@pytest.mark.parametrize("is_stream", [False, True])
def test_gemini(proxy, clients, is_stream):
    models, text = clients[2].models, ASK[0]["content"]
    if is_stream:
        parts = list(models.generate_content_stream(model="fake-1", contents=text))
        said = "".join(part.text or "" for part in parts)
    else:
        said = models.generate_content(model="fake-1", contents=text).text
    assert said == "hello there"
    assert paid(proxy) == [PAID]


def test_tools_in_every_dialect(proxy, clients):
    of_openai, of_anthropic, of_google = clients
    ask = [{"role": "user", "content": TOOL_ASK}]
    function = {"name": "weather", "description": "", "parameters": SCHEMA}
    chat = of_openai.chat.completions.create(
        model="fake-1", messages=ask, tools=[{"type": "function", "function": function}]
    )
    answer = of_openai.responses.create(model="fake-1", input=ask, tools=[{"type": "function", **function}])
    tool = {"name": "weather", "input_schema": SCHEMA}
    message = of_anthropic.messages.create(model="fake-1", max_tokens=90, messages=ask, tools=[tool])
    config = genai_types.GenerateContentConfig(
        tools=[{"function_declarations": [{"name": "weather", "parameters_json_schema": SCHEMA}]}]
    )
    content = of_google.models.generate_content(model="fake-1", contents=TOOL_ASK, config=config)
    calls = [
        json.loads(chat.choices[0].message.tool_calls[0].function.arguments),
        json.loads(answer.output[0].arguments),
        message.content[0].input,
        content.function_calls[0].args,
    ]
    assert calls == [{"city": "Bern"}] * 4


def test_models_and_counting(proxy, clients):
    of_openai, of_anthropic, of_google = clients
    assert [model.id for model in of_openai.models.list()] == ["fake-1"]
    assert of_openai.models.retrieve("fake-1").id == "fake-1"
    assert [model.id for model in of_anthropic.models.list()] == ["fake-1"]
    assert [model.name for model in of_google.models.list()] == ["models/fake-1"]
    assert of_anthropic.messages.count_tokens(model="fake-1", messages=ASK).input_tokens == 42


def test_embeddings(proxy, clients):
    made = clients[0].embeddings.create(model="fake-1", input=["[[usage 100 0]] a text"])
    assert len(made.data[0].embedding) == 3
    assert paid(proxy) == [100 * 3_000]


def test_a_wrong_key_is_the_clients_own_error(proxy):
    with (
        pytest.raises(openai.AuthenticationError),
        openai.OpenAI(base_url=f"{proxy.url}/p/openai/v1", api_key="eavs-no", max_retries=0) as client,
    ):
        client.chat.completions.create(model="fake-1", messages=ASK)
    with (
        pytest.raises(anthropic.AuthenticationError),
        anthropic.Anthropic(base_url=f"{proxy.url}/p/claude", api_key="eavs-no", max_retries=0) as client,
    ):
        client.messages.create(model="fake-1", max_tokens=9, messages=ASK)


def test_errors_are_the_clients_own_and_costs_nothing(proxy, clients):
    of_openai, of_anthropic, of_google = clients
    ask = [{"role": "user", "content": "[[error 429 9]] [[say x]]"}]
    with pytest.raises(openai.RateLimitError, match="scripted 429"):
        of_openai.chat.completions.create(model="fake-1", messages=ask, stream=True)
    with pytest.raises(openai.RateLimitError, match="scripted 429"):
        of_openai.responses.create(model="fake-1", input=ask)
    with pytest.raises(anthropic.RateLimitError, match="scripted 429"):
        of_anthropic.messages.create(model="fake-1", max_tokens=9, messages=ask)
    with pytest.raises(genai_errors.ClientError, match="scripted 429"):
        of_google.models.generate_content(model="fake-1", contents=ask[0]["content"])
    assert paid(proxy) == [0] * 4


def test_no_money_is_an_error_that_no_client_tries_again(proxy, provider):
    key = proxy.key(limit_usd=0.0)
    with (
        openai.OpenAI(base_url=f"{proxy.url}/p/openai/v1", api_key=key) as client,
        pytest.raises(openai.APIStatusError) as refused,
    ):
        client.chat.completions.create(model="fake-1", messages=ASK)
    assert (refused.value.status_code, refused.value.code) == (402, "budget_exceeded")
    with (
        anthropic.Anthropic(base_url=f"{proxy.url}/p/claude", api_key=key) as client,
        pytest.raises(anthropic.APIStatusError) as refused,
    ):
        client.messages.create(model="fake-1", max_tokens=9, messages=ASK)
    assert refused.value.body["error"]["type"] == "billing_error"
    options = genai_types.HttpOptions(base_url=f"{proxy.url}/p/gemini")
    with (
        genai.Client(api_key=key, http_options=options, vertexai=False) as client,
        pytest.raises(genai_errors.ClientError) as refused,
    ):
        client.models.generate_content(model="fake-1", contents="hi")
    assert refused.value.code == 402
    assert provider.requests == []
    assert proxy.rows() == []
