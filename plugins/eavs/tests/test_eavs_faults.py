"""Bad input and bad providers: the status, the dialect's own error, and what the ledger says afterwards."""

from __future__ import annotations

import gzip
import json
import socket
import time
from pathlib import Path

import pytest
import zstandard
from oqto_plugin_eavs import control
from oqto_plugin_eavs.body import Bodies
from oqto_plugin_eavs.providers import Provider
from oqto_plugin_eavs.refusals import Refused
from waiting import until

CHAT = "/p/fake/v1/chat/completions"
HELLO = [{"role": "user", "content": "hi"}]


def post(proxy, path, body, key=None, **headers):
    given = {"authorization": f"Bearer {key}"} if key else {}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return proxy.client.post(path, content=content, headers={**given, **headers})


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (CHAT, b"{not json", 400, "invalid_json"),
        (CHAT, b"", 400, "invalid_json"),
        (CHAT, b"[1, 2]", 400, "invalid_request"),
        (CHAT, b'{"messages": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400, "invalid_json"),
        (CHAT, {"messages": HELLO}, 400, "missing_model"),
        (CHAT, {"model": 7, "messages": HELLO}, 400, "invalid_request"),
        (CHAT, {"model": "gpt-nobody", "messages": HELLO}, 403, "model_not_allowed"),
        ("/p/nowhere/v1/chat/completions", {"model": "m"}, 404, "unknown_provider"),
        ("/p/fake/v1/files", {"model": "fake-1"}, 404, "unknown_path"),
        ("/p/fake/v1/../../etc/passwd", {"model": "fake-1"}, 404, "unknown_path"),
        ("/p/claude/v1/chat/completions", {"model": "fake-1"}, 404, "unsupported_path"),
        ("/v1/chat/completions", {"model": "gpt-nobody"}, 404, "model_not_found"),
    ],
)
def test_a_bad_request_is_refused_before_money_or_provider(proxy, provider, path, body, status, code):
    reply = post(proxy, path, body, proxy.key())
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert (proxy.rows(), provider.requests) == ([], [])


def test_each_dialect_gets_its_own_error_shape(proxy):
    anthropic = post(proxy, "/p/claude/v1/messages", b"{", proxy.key()).json()
    assert (anthropic["type"], anthropic["error"]["type"]) == ("error", "invalid_request_error")
    gemini = post(proxy, "/p/gemini/v1beta/models/fake-1:generateContent", b"{", proxy.key()).json()
    assert (gemini["error"]["code"], gemini["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("wrong", ["", "eavs-" + "x" * 32, "sk-canary-of-the-provider", "eavs-é"])
def test_an_unknown_key_is_refused(proxy, provider, wrong):
    headers = {"x-api-key": wrong.encode()} if wrong else {}
    reply = proxy.client.post(CHAT, json={"model": "fake-1", "messages": HELLO}, headers=headers)
    assert reply.status_code == 401
    assert provider.requests == []


def test_a_revoked_key_is_refused(proxy):
    key = proxy.key()
    (shown,) = [k for k in proxy.ask(control.ListKeys()).keys if k.account == proxy.name("acc")]
    proxy.ask(control.Revoke(key_id=shown.id))
    assert proxy.chat(key, "hi").status_code == 401


@pytest.mark.parametrize("place", ["authorization", "x-api-key", "x-goog-api-key", "api-key", "?key="])
def test_the_key_is_taken_from_anywhere_and_never_passed_on(proxy, provider, place):
    key = proxy.key()
    headers = {} if place == "?key=" else {place: f"Bearer {key}" if place == "authorization" else key}
    url = CHAT + (f"?key={key}&x=1" if place == "?key=" else "")
    assert (
        proxy.client.post(url, json={"model": "fake-1", "messages": HELLO}, headers=headers).status_code
        == 200
    )
    seen = json.dumps([provider.requests[0].headers, provider.requests[0].query])
    assert key not in seen
    assert provider.requests[0].headers["authorization"] == "Bearer sk-canary-of-the-provider"
    assert key not in proxy.log.read_text()


def test_too_many_calls_in_a_minute(proxy):
    key = proxy.key(rpm=2)
    statuses = [proxy.chat(key, "hi").status_code for _ in range(3)]
    refused = proxy.chat(key, "hi")
    assert statuses[:2] == [200, 200]
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 30


def test_a_body_over_the_limit(own_proxy, provider):
    own_proxy.ask(control.Configure(max_body_mb=1))
    body = {"model": "fake-1", "messages": [{"role": "user", "content": "x" * 2**20}]}
    reply = post(own_proxy, CHAT, body, own_proxy.key())
    assert reply.status_code == 413
    packed = gzip.compress(json.dumps(body).encode())
    assert post(own_proxy, CHAT, packed, own_proxy.key(), **{"content-encoding": "gzip"}).status_code == 413
    assert provider.requests == []


def test_a_compressed_request_is_read_and_passed_on_plain(proxy, provider):
    packed = gzip.compress(json.dumps({"model": "fake-1", "messages": HELLO}).encode())
    assert post(proxy, CHAT, packed, proxy.key(), **{"content-encoding": "gzip"}).status_code == 200
    assert provider.requests[0].body["model"] == "fake-1"
    zstd = zstandard.compress(json.dumps({"model": "fake-1", "messages": HELLO}).encode())
    assert post(proxy, CHAT, zstd, proxy.key(), **{"content-encoding": "zstd"}).status_code == 200
    assert provider.requests[1].raw == provider.requests[0].raw
    for name in ("gzip", "zstd"):
        assert (
            post(proxy, CHAT, b"no " + name.encode(), proxy.key(), **{"content-encoding": name}).status_code
            == 400
        )
        cut = (packed if name == "gzip" else zstd)[:-9]
        assert post(proxy, CHAT, cut, proxy.key(), **{"content-encoding": name}).status_code == 400
    assert post(proxy, CHAT, b"?", proxy.key(), **{"content-encoding": "br"}).status_code == 415


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_small_body_that_unpacks_to_a_huge_one_is_refused(proxy, provider, name):
    bomb = (gzip.compress if name == "gzip" else zstandard.compress)(b" " * (80 * 2**20))
    assert len(bomb) < 2**20
    assert post(proxy, CHAT, bomb, proxy.key(), **{"content-encoding": name}).status_code == 413
    assert provider.requests == []


async def test_large_bodies_of_all_calls_together_are_limited():
    class Upload:
        def __init__(self, pieces):
            self.headers = {}
            self.pieces = [b"x" * 2**20] * pieces

        async def chunk(self):
            return self.pieces.pop() if self.pieces else None

    bodies = Bodies(together=5 * 2**20)
    small, large = await bodies.read(Upload(1), 2**26), await bodies.read(Upload(4), 2**26)
    assert (len(small.data), bodies.held) == (2**20, 4 * 2**20)
    with pytest.raises(Refused) as refused:
        await bodies.read(Upload(3), 2**26)
    assert (refused.value.http_status, refused.value.retry_after_s, bodies.held) == (503, 2, 4 * 2**20)
    large.release()
    assert (bodies.held, large.data) == (0, b"")


def test_gemini_streams_an_array_item_by_item(proxy, provider):
    key = proxy.key()
    path, ask = "/p/gemini/v1beta/models/fake-1:streamGenerateContent", "[[usage 100 50]] [[slow 3 0.05]]"
    body = {"contents": [{"role": "user", "parts": [{"text": ask}]}]}
    with proxy.client.stream("POST", path, headers={"x-goog-api-key": key}, json=body) as reply:
        pieces = list(reply.iter_raw())
    assert len(pieces) >= 3
    items = json.loads(b"".join(pieces))
    assert items[-1]["candidates"][0]["finishReason"] == "STOP"
    assert proxy.settled()[0]["cost_nusd"] == 100 * 3_000 + 50 * 15_000


def test_a_gemini_array_that_is_cut_ends_as_json_with_an_error(proxy, provider):
    path, key = "/p/gemini/v1beta/models/fake-1:streamGenerateContent", proxy.key()
    body = {"contents": [{"role": "user", "parts": [{"text": "[[drop]]"}]}]}
    items = proxy.client.post(path, headers={"x-goog-api-key": key}, json=body).json()
    assert items[-1]["error"]["code"] == 502
    assert proxy.settled()[0]["outcome"] == "cut"


def test_a_large_body_with_an_image_holds_little_money(proxy, provider):
    picture = "A" * (20 * 2**20)
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
    body = {"model": "fake-1", "max_tokens": 10, "messages": [{"role": "user", "content": [part]}]}
    assert post(proxy, CHAT, body, proxy.key(limit_usd=0.05)).status_code == 200
    assert len(provider.requests[0].raw) > 20 * 2**20


def test_a_model_without_a_price_is_refused(proxy, provider):
    odd = Provider(name="odd", kind="openai-compatible", base_url=f"{provider.url}/v1", models=("mystery",))
    proxy.ask(control.SetProvider(provider=odd, probe=False))
    reply = post(proxy, "/p/odd/v1/chat/completions", {"model": "mystery", "messages": HELLO}, proxy.key())
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "unpriced_model")
    assert "[eavs.providers.odd.prices]" in reply.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 429, 500, 503, 529])
def test_a_providers_error_passes_unchanged_and_costs_nothing(proxy, status, stream):
    reply = proxy.chat(proxy.key(), f"[[error {status} 1]] [[say x]] {stream}", stream=stream)
    assert reply.status_code == status
    assert reply.json()["error"]["message"] == f"scripted {status}"
    assert reply.headers["x-request-id"]
    (row,) = proxy.settled()
    assert (row["status"], row["cost_nusd"], row["outcome"]) == (status, 0, "refused")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["reset", "garbage"])
def test_a_provider_that_breaks_before_it_answers(proxy, fault, stream):
    reply = proxy.chat(proxy.key(), f"[[{fault}]] {stream}", stream=stream)
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_error")
    (row,) = proxy.settled()
    assert (row["is_estimated"], row["output"]) == (1, 0)
    assert row["cost_nusd"] > 0  # the request may have reached the model


def test_a_provider_with_a_wrong_content_length(proxy):
    reply = proxy.chat(proxy.key(), "[[badlength]] [[say hi]]")
    assert reply.status_code in (200, 502)
    if reply.status_code == 502:
        assert proxy.settled()[0]["is_estimated"] == 1


def test_a_provider_that_cannot_be_reached_costs_nothing(proxy):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy.add("dead", "openai-compatible", f"http://127.0.0.1:{closed.getsockname()[1]}/v1")
        reply = proxy.chat(proxy.key(), "hi", provider="dead")
    assert reply.status_code == 502
    assert "cannot connect" in reply.json()["error"]["message"]
    assert proxy.settled()[0]["cost_nusd"] == 0


GEMINI = "/p/gemini/v1beta/models/fake-1:streamGenerateContent"
STREAMS = [CHAT, "/p/claude/v1/messages", "/p/openai/v1/responses", f"{GEMINI}?alt=sse", GEMINI]


def streamed(path, text):
    """A request for a stream, in the dialect of the path."""
    if "gemini" in path:
        return {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    told = [{"role": "user", "content": text}]
    name = "input" if path.endswith("responses") else "messages"
    return {"model": "fake-1", "stream": True, "max_tokens": 99, name: told}


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_that_is_cut_says_so_and_is_billed(proxy, path):
    reply = post(proxy, path, streamed(path, "[[drop]]"), proxy.key())
    assert reply.status_code == 200
    assert "partial" in reply.text
    assert '"error"' in reply.text
    assert "[DONE]" not in reply.text
    (row,) = proxy.settled()
    assert (row["outcome"], row["is_estimated"]) == ("cut", 1)
    assert row["cost_nusd"] > 0


@pytest.mark.parametrize("path", STREAMS)
def test_an_error_inside_a_stream_passes_and_is_billed(proxy, path):
    reply = post(proxy, path, streamed(path, "[[errorevent]]"), proxy.key())
    assert "scripted failure" in reply.text
    assert proxy.settled()[0]["cost_nusd"] > 0


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("fault", ["reset", "garbage", "error 500 1"])
def test_a_fault_before_the_stream_is_an_error_of_the_dialect(proxy, path, fault):
    reply = post(proxy, path, streamed(path, f"[[{fault}]] [[say x]] {path}"), proxy.key())
    assert reply.status_code == (500 if "500" in fault else 502)
    error = reply.json()["error"]
    assert error["message"]
    if "500" not in fault:
        shape = {"claude": error.get("type") == "api_error", "gemini": error.get("code") == 502}
        assert next(
            (fits for name, fits in shape.items() if name in path), error.get("code") == "upstream_error"
        )
    (row,) = proxy.settled()
    assert (row["cost_nusd"] == 0) == ("500" in fault)


@pytest.mark.parametrize("directive", ["[[hang 30]]", "[[slow 100 0.3]]"])
def test_a_client_that_leaves_ends_the_call_at_the_provider(proxy, provider, directive):
    key = proxy.key()
    body = json.dumps(
        {"model": "fake-1", "stream": True, "messages": [{"role": "user", "content": directive}]}
    ).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    idle = provider.open_connections
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(head.encode() + body)
        until(lambda: len(provider.requests) == 1)
        if "slow" in directive:
            assert b"200 OK" in client.recv(100)
    (row,) = proxy.settled()
    assert (row["outcome"], row["is_estimated"]) == ("left", 1)
    assert row["cost_nusd"] > 0
    until(lambda: provider.open_connections <= idle + 1, timeout_s=3)
    if "slow" in directive:
        until(lambda: provider.requests[0].is_cut_by_client, timeout_s=3)


def test_wrong_method(proxy):
    reply = proxy.client.get(CHAT, headers={"x-api-key": proxy.key()})
    assert (reply.status_code, reply.json()["error"]["code"]) == (405, "method_not_allowed")


def test_models_are_listed_in_the_shape_of_the_caller(proxy):
    key = proxy.key()
    openai = proxy.client.get("/p/fake/v1/models", headers={"authorization": f"Bearer {key}"}).json()
    assert [model["id"] for model in openai["data"]] == ["fake-1"]
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    anthropic = proxy.client.get("/p/claude/v1/models", headers=headers).json()
    assert (anthropic["has_more"], anthropic["first_id"]) == (False, "fake-1")
    gemini = proxy.client.get("/p/gemini/v1beta/models", headers={"x-goog-api-key": key}).json()
    assert gemini["models"][0]["name"] == "models/fake-1"


def test_counting_tokens_is_free(proxy):
    body = {"model": "fake-1", "messages": HELLO}
    reply = post(proxy, "/p/claude/v1/messages/count_tokens", body, proxy.key(limit_usd=0.0))
    assert reply.json() == {"input_tokens": 42}
    assert proxy.settled()[0]["cost_nusd"] == 0


def test_an_alias_is_renamed_on_the_way(proxy, provider):
    proxy.add("nick", "openai-compatible", f"{provider.url}/v1", aliases={"best": "fake-1"})
    reply = post(proxy, "/p/nick/v1/chat/completions", {"model": "best", "messages": HELLO}, proxy.key())
    assert (reply.status_code, provider.requests[0].body["model"]) == (200, "fake-1")
    assert proxy.rows()[0]["model"] == "fake-1"


def test_a_slow_reader_holds_no_more_than_a_little(own_proxy, provider):
    key = own_proxy.key()
    text = f"[[nousage]] [[slow 300000 0]] {'x' * 10}"
    body = json.dumps(
        {"model": "fake-1", "stream": True, "messages": [{"role": "user", "content": text}]}
    ).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    before = resident_kb(own_proxy.process.pid)
    with socket.create_connection(("127.0.0.1", own_proxy.port)) as client:
        client.sendall(head.encode() + body)
        client.recv(1000)
        time.sleep(2)
        grown = resident_kb(own_proxy.process.pid) - before
        assert not provider.requests[0].is_finished
    assert grown < 8 * 1024
    assert own_proxy.settled()[0]["outcome"] == "left"


def resident_kb(pid):
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1])
