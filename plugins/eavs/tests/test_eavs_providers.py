"""Adding a provider: it is tried with a real call, and what is wrong is said in words."""

from __future__ import annotations

import http.server
import threading

import pytest
from oqto_plugin_eavs import control
from oqto_plugin_eavs.providers import ModelCost, Provider

from oqto_platform.errors import Conflict, Invalid
from oqto_platform.testing.llm import ScriptedProvider

PRICES = {"fake-1": ModelCost(input=1, output=2)}


@pytest.fixture
def locked():
    with ScriptedProvider(require_key="sk-right", models=("fake-1", "text-embedding-x")) as running:
        yield running


def add(proxy, **fields):
    provider = Provider(**{"name": "new", "kind": "openai-compatible", "prices": PRICES, **fields})
    return proxy.ask(control.SetProvider(provider=provider)).providers[0]


def test_a_working_provider_brings_its_models(proxy, locked):
    added = add(proxy, base_url=f"{locked.url}/v1", api_key="sk-right")
    assert (added.models, added.has_key) == (("fake-1",), True)
    proxy.ask(control.DropProvider(name="new"))


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"api_key": "sk-wrong"}, "provider-key-refused", "does not accept the API key"),
        (
            {"api_key": "sk-right", "models": ("gone",)},
            "provider-models",
            "has no model 'gone'. It offers: fake-1",
        ),
        ({"api_key": "sk-right", "prices": {}}, "model-unpriced", "price of 'fake-1' is not known"),
        (
            {"api_key": "sk-right", "base_url": "http://127.0.0.1:9/v1"},
            "provider-unreachable",
            "cannot connect",
        ),
        ({"api_key": "sk-right", "base_url": "localhost"}, "invalid", "must look like https://host/v1"),
        ({"api_key": "sk-right", "kind": "telepathy"}, "invalid", "kind 'telepathy' is unknown"),
        ({"api_key": "sk-right", "name": "v1"}, "invalid", "provider name 'v1'"),
        ({"api_key": "env:SURELY_NOT_SET"}, "invalid", "SURELY_NOT_SET, which is not set"),
    ],
)
def test_what_is_wrong_is_said_in_words(proxy, locked, fields, code, words):
    with pytest.raises(Invalid, match=words) as refused:
        add(proxy, **{"base_url": f"{locked.url}/v1", **fields})
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (404, b"<html>no</html>", "provider-not-an-api", "There is no such API"),
        (402, b'{"error":{"message":"Insufficient credits"}}', "provider-no-credit", "no credit"),
        (429, b'{"error":{"message":"You exceeded your current quota"}}', "provider-no-credit", "no credit"),
        (200, b"<html>a login page</html>", "provider-not-an-api", "is not an LLM API"),
        (500, b'{"error":"boom"}', "provider-failing", "status 500"),
    ],
)
def test_odd_servers_are_told_apart(proxy, status, body, code, words):
    class Odd(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Odd) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(Invalid, match=words) as refused:
            add(proxy, base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="k")
        server.shutdown()
    assert refused.value.code == code


def test_configured_providers_come_and_go_with_the_configuration(own_proxy):
    mine = Provider(name="mine", kind="openai", api_key="k", models=("gpt-4o",))
    own_proxy.ask(control.Configure(providers=(mine,)))
    assert "mine" in [p.name for p in own_proxy.ask(control.ListProviders()).providers]
    with pytest.raises(Conflict, match=r"\[eavs.providers.mine\]"):
        own_proxy.ask(control.DropProvider(name="mine"))
    with pytest.raises(Conflict, match="comes from the configuration"):
        own_proxy.ask(control.SetProvider(provider=mine, probe=False))
    own_proxy.ask(control.Configure())
    names = [p.name for p in own_proxy.ask(control.ListProviders()).providers]
    assert names == ["claude", "fake", "gemini", "openai", "demo"]
