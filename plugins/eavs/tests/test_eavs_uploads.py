"""Long requests: sent on while they arrive, in little memory, and never a byte that no money was set aside for."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oqto_plugin_eavs import control
from oqto_plugin_eavs.ask import ASKED
from oqto_plugin_eavs.estimate import IMAGE_BYTES, Prompt, prompt_tokens
from oqto_plugin_eavs.fields import Fields
from oqto_plugin_eavs.refusals import Refused
from waiting import until

CHAT = "/p/fake/v1/chat/completions"
MIB = 2**20
PICTURE = "QUJD" * (MIB // 2)
"""Two MiB of base64."""


def pictures(count, text="[[usage 100 50]] [[say seen]]"):
    parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}] * count
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def post(proxy, content, key, path=CHAT, **headers):
    return proxy.client.post(path, content=content, headers={"authorization": f"Bearer {key}", **headers})


class Listener:
    """A provider on a bare socket: `serve(connection)` plays it for each one that comes."""

    def __init__(self, serve):
        self.serve = serve
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"
        self.threads = []

    def __enter__(self):
        self.threads.append(threading.Thread(target=self.accept))
        self.threads[0].start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for thread in self.threads:
            thread.join(10)

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.threads.append(threading.Thread(target=self.play, args=(connection,)))
            self.threads[-1].start()

    def play(self, connection):
        with connection:
            connection.settimeout(20)
            self.serve(connection)


def head_of(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(4096)
    return data


# How it is read.

json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(alphabet='ab"\\{}[],:é\n'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "x", '"']), inner),
    max_leaves=12,
)
requests = st.dictionaries(st.sampled_from(["model", "stream", "n", "messages", 'a"', "\\"]), json_values)


@settings(deadline=None)
@given(requests, st.lists(st.integers(1, 40), min_size=1), st.sampled_from([None, 1]), st.booleans())
def test_fields_are_found_and_replaced_wherever_a_request_is_cut(request_, cuts, indent, is_ascii):
    data = json.dumps(request_, indent=indent, ensure_ascii=is_ascii).encode()
    fields, shown, at = Fields(ASKED, replace=lambda key, _: b'"new"' if key == "model" else None), b"", 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        shown += fields.feed(data[at : at + size])
        at += size
    assert {k: json.loads(v) for k, v in fields.values.items()} == {
        k: v for k, v in request_.items() if k in ASKED
    }
    assert json.loads(shown) == {k: "new" if k == "model" else v for k, v in request_.items()}
    assert fields.is_closed


@pytest.mark.parametrize("data", [b'["model"]', b'x {"model":1}', b'"model"', b'{"n":1,"\\u006e":2}'])
def test_what_cannot_be_followed_is_refused(data):
    with pytest.raises(Refused):
        Fields(ASKED).feed(data)


def test_a_request_of_endless_small_parts_is_refused_early():
    fields = Fields(ASKED)
    fields.feed(b'{"a":[' + b"[" * 200_000)
    with pytest.raises(Refused, match="too many parts"):
        fields.feed(b"[")


runs = st.sampled_from([b" ", b'="x"', b"a", b"Q" * (IMAGE_BYTES - 1), b"Q" * IMAGE_BYTES, b"Q" * 5_000])


@settings(deadline=None)
@given(st.lists(runs, max_size=9), st.lists(st.integers(500, 6_000), min_size=1, max_size=5))
def test_a_prompt_counts_the_same_wherever_it_is_cut(pieces, cuts):
    data, prompt, at = b"".join(pieces) + b" " * 20_000, Prompt(), 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        prompt.feed(data[at : at + size])
        at += size
    assert prompt.tokens == prompt_tokens(data)


# What a client and a provider notice.


def test_a_model_behind_the_pictures_is_found_and_renamed_in_its_place(proxy, provider):
    aliases = {"mine": "fake-1"}
    proxy.add("other", "openai-compatible", f"{provider.url}/v1", aliases=aliases)
    body = {"messages": pictures(2), "model": "mine", "max_tokens": 60, "stream": True, "user": "é"}
    reply = post(proxy, json.dumps(body), proxy.key(), "/p/other/v1/chat/completions")
    assert reply.status_code == 200
    assert '"usage":{' not in reply.text.replace(" ", "")
    (received,) = provider.requests
    wanted = {**body, "model": "fake-1", "stream_options": {"include_usage": True}}
    assert (received.body, list(received.body)) == (wanted, list(wanted))
    assert [row["cost_nusd"] for row in proxy.settled()] == [100 * 3_000 + 50 * 15_000]


def test_counts_are_asked_for_where_the_client_has_other_options(proxy, provider):
    options = {"stream_options": {"include_obfuscation": False}}
    body = {"model": "fake-1", "messages": pictures(1), **options, "stream": True}
    assert '"usage":{' not in post(proxy, json.dumps(body), proxy.key()).text.replace(" ", "")
    assert provider.requests[0].body["stream_options"] == {
        "include_obfuscation": False,
        "include_usage": True,
    }


@pytest.mark.parametrize("path", ["/p/claude/v1/messages", "/p/openai/v1/responses"])
def test_a_long_request_passes_byte_by_byte(proxy, provider, path):
    field = "input" if path.endswith("responses") else "messages"
    content = json.dumps({field: pictures(2), "model": "fake-1", "max_tokens": 60}, indent=1).encode()
    assert post(proxy, content, proxy.key(), path).status_code == 200
    assert provider.requests[0].raw == content
    assert provider.requests[0].headers["content-length"] == str(len(content))


def test_a_long_compressed_request_is_passed_on_plain(proxy, provider):
    content = json.dumps({"messages": pictures(3), "model": "fake-1"}).encode()
    packed = gzip.compress(content[:1000], 1) + gzip.compress(content[1000:], 1)
    assert post(proxy, packed, proxy.key(), **{"content-encoding": "gzip"}).status_code == 200
    assert zlib.crc32(provider.requests[0].raw) == zlib.crc32(content)


def test_a_demo_answers_a_long_request_too(proxy):
    body = {"messages": pictures(1, "hello"), "model": "demo"}
    assert post(proxy, json.dumps(body), proxy.key(), "/p/demo/v1/chat/completions").status_code == 200


def test_a_model_named_twice_is_refused_before_the_provider_has_it_all(proxy, provider):
    content = b'{"model":"fake-1","messages":' + json.dumps(pictures(1)).encode() + b',"model":"dear"}'
    reply = post(proxy, content, proxy.key())
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")
    assert [(row["outcome"], row["cost_nusd"]) for row in proxy.settled()] == [("refused", 0)]
    assert not [r for r in provider.requests if r.status]


def test_a_prompt_that_the_money_does_not_cover_never_arrives_whole(proxy, provider):
    words = [{"role": "user", "content": "some words " * (MIB // 2)}]
    reply = post(proxy, json.dumps({"model": "fake-1", "messages": words}), proxy.key(limit_usd=3.0))
    assert (reply.status_code, reply.json()["error"]["code"]) == (402, "budget_exceeded")
    assert [(row["outcome"], row["cost_nusd"]) for row in proxy.settled()] == [("refused", 0)]
    assert not [r for r in provider.requests if r.status]


def test_a_length_that_grows_past_the_limit_ends_in_413(own_proxy, provider):
    own_proxy.ask(control.Configure(max_body_mb=2))
    content = json.dumps({"model": "fake-1", "messages": pictures(2)}).encode()
    pieces = (content[at : at + 65_536] for at in range(0, len(content), 65_536))
    assert post(own_proxy, pieces, own_proxy.key()).status_code == 413
    assert own_proxy.settled()[0]["cost_nusd"] == 0


def test_an_early_no_ends_the_upload_and_reaches_the_client(proxy):
    said, told = b'{"error":{"message":"too large for me"}}', threading.Event()

    def refuse(connection):
        head_of(connection)
        head = b"HTTP/1.1 413 Too Large\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(said) + said)
        assert told.wait(20)  # nothing is read, so the proxy is in the middle of its upload

    with Listener(refuse) as vendor:
        proxy.add("early", "openai-compatible", vendor.url)
        body = {"model": "fake-1", "messages": pictures(8)}
        reply = post(proxy, json.dumps(body), proxy.key(), "/p/early/v1/chat/completions")
        told.set()
    assert (reply.status_code, reply.content) == (413, said)
    assert [(row["outcome"], row["cost_nusd"]) for row in proxy.settled()] == [("refused", 0)]


def test_a_client_that_stops_in_the_middle_is_settled_at_nothing(proxy):
    arrived, gone = threading.Event(), threading.Event()

    def listen(connection):
        head_of(connection)
        arrived.set()
        while connection.recv(65_536):
            pass
        gone.set()

    key = proxy.key()
    with Listener(listen) as vendor:
        proxy.add("slow", "openai-compatible", vendor.url)
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            head = f"POST /p/slow/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\nx-api-key: {key}\r\n\r\n"
            client.sendall(head.encode() + b'{"model":"fake-1","messages":["' + b"x" * (2 * MIB))
            assert arrived.wait(20)
            assert [row["state"] for row in proxy.rows()] == ["pending"]
        assert gone.wait(20)
    assert [(row["outcome"], row["cost_nusd"]) for row in proxy.settled()] == [("left", 0)]


def test_a_client_that_leaves_while_the_provider_reads_nothing_is_noticed(proxy):
    arrived, settled = threading.Event(), threading.Event()

    def stall(connection):
        connection.recv(1)
        arrived.set()
        assert settled.wait(40)

    key = proxy.key()
    with Listener(stall) as vendor:
        proxy.add("stalled", "openai-compatible", vendor.url)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(proxy.folder / "llm.sock"))
            head = f"POST /p/stalled/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 60000000\r\nx-api-key: {key}\r\n\r\n"
            client.sendall(head.encode() + b'{"model":"fake-1","messages":["')
            client.settimeout(1)
            with pytest.raises(TimeoutError):
                client.sendall(b"Q" * 50 * MIB)
            assert arrived.wait(20)
        assert [(row["outcome"], row["cost_nusd"]) for row in proxy.settled()] == [("left", 0)]
        settled.set()


def test_a_provider_that_reads_slowly_makes_clients_wait_and_memory_stay(own_proxy):
    """Eight requests of 24 MiB against a provider that takes nothing until all are under way."""
    count, size, begun, go = 8, 24 * MIB, threading.Semaphore(0), threading.Event()

    def listen(connection):
        head = head_of(connection)
        begun.release()
        assert go.wait(60)
        left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) - len(
            head.split(b"\r\n\r\n", 1)[1]
        )
        while left:
            left -= len(connection.recv(min(left, MIB)))
        reply = b'{"usage":{"input_tokens":7,"output_tokens":3}}'
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(reply), reply))

    content = b'{"model":"fake-1","max_tokens":9,"messages":["' + b"Q" * size + b'"]}'
    with Listener(listen) as vendor, ThreadPoolExecutor(count) as pool:
        own_proxy.add("slow", "anthropic", vendor.url)
        key, before = own_proxy.key(), rss_of(own_proxy)
        calls = [pool.submit(post, own_proxy, content, key, "/p/slow/v1/messages") for _ in range(count)]
        for _ in range(count):
            assert begun.acquire(timeout=30)
        until(lambda: len(own_proxy.rows("state = 'pending'")) == count)
        peak = rss_of(own_proxy)
        go.set()
        assert [call.result(60).status_code for call in calls] == [200] * count
    assert max(peak, rss_of(own_proxy)) - before < count * 5 * MIB
    assert {row["cost_nusd"] for row in own_proxy.settled(count)} == {7 * 3_000 + 3 * 15_000}


def rss_of(proxy):
    lines = Path(f"/proc/{proxy.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024
