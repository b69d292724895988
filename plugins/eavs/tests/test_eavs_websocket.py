"""OpenAI's responses and realtime APIs over WebSockets: every response is a call that is paid for."""

from __future__ import annotations

import base64
import json
import socket
import threading
from contextlib import contextmanager

import pytest
from oqto_plugin_eavs import control
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect
from websockets.sync.server import serve

USAGE = {"input_tokens": 100, "output_tokens": 50, "input_tokens_details": {"cached_tokens": 40}}
PAID = 60 * 3_000 + 40 * 300 + 50 * 15_000
SOUND = {
    "input_tokens": 120,
    "output_tokens": 30,
    "input_token_details": {"cached_tokens": 20, "audio_tokens": 100, "cached_tokens_details": {"audio_tokens": 20}},
    "output_token_details": {"audio_tokens": 25},
}  # fmt: skip


class Vendor:
    """A provider that answers `response.create`, and otherwise does what the message says."""

    def __init__(self):
        self.heard, self.requests = [], []

    def answer(self, socket):
        self.requests.append(socket.request)
        if "realtime" in socket.request.path:
            self.tell(socket, "session.created")
        for text in socket:
            message = json.loads(text)
            self.heard.append(message)
            self.react(socket, message, message.get("do", ""))

    def react(self, socket, message, wish):
        kind = "realtime" if "realtime" in socket.request.path else "responses"
        if wish == "close":
            socket.close(4001, "enough")
        elif wish == "error":
            self.tell(socket, "error", error={"message": "no"})
        elif message["type"] == "response.create" or wish == "speak":
            self.tell(socket, "response.created", response={"id": "r"})
            self.tell(socket, "response.output_text.delta", delta="word " * 10)
            for _ in range(message.get("more", 0)):
                self.tell(socket, "response.output_text.delta", delta="word " * 50)
            if wish == "hang":
                return
            usage, end = (USAGE, "completed") if kind == "responses" else (SOUND, "done")
            self.tell(socket, f"response.{end}", response={"id": "r", "model": "fake-1", "usage": usage})
        elif message["type"] == "input_audio_buffer.commit":
            self.tell(socket, "input_audio_buffer.committed", item_id="item_1")
        elif wish in ("completed", "failed"):
            kind = f"conversation.item.input_audio_transcription.{wish}"
            self.tell(socket, kind, item_id="item_1", usage=message.get("usage"))
        else:
            self.tell(socket, "echo", size=len(message.get("input", "")))

    def tell(self, socket, kind, **fields):
        socket.send(json.dumps({"type": kind, **fields}))


@pytest.fixture(scope="module")
def vendor():
    vendor = Vendor()

    def select(_, offered):
        return "realtime" if "realtime" in offered else None

    server = serve(vendor.answer, "127.0.0.1", 0, select_subprotocol=select, max_size=2**25)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    vendor.url = f"http://127.0.0.1:{server.socket.getsockname()[1]}/v1"
    yield vendor
    server.shutdown()
    thread.join()


@pytest.fixture
def socket_to(proxy, vendor):
    proxy.add("live", "openai", vendor.url, models=("fake-1",))
    vendor.heard.clear()
    vendor.requests.clear()

    @contextmanager
    def opened(path, key, **options):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        url = f"ws://127.0.0.1:{proxy.port}/p/live/v1/{path}"
        with connect(
            url, additional_headers=headers, max_size=2**25, compression=None, proxy=None, **options
        ) as client:
            yield client

    return opened


def say(client, kind="response.create", **fields):
    client.send(json.dumps({"type": kind, **fields}))


def until(client, kind):
    while (event := json.loads(client.recv(timeout=10)))["type"] != kind:
        pass
    return event


def closed_by(client):
    try:
        while True:
            client.recv(timeout=10)
    except ConnectionClosed as closed:
        return closed


def test_each_response_of_a_socket_is_billed_before_its_end_is_told(proxy, socket_to, vendor):
    with socket_to("responses", proxy.key()) as client:
        for number in (1, 2):
            say(client, model="fake-1", input="hi")
            until(client, "response.completed")
            rows = proxy.rows("state = 'settled'")
            assert [row["cost_nusd"] for row in rows] == [PAID] * number
    assert vendor.requests[0].headers["authorization"] == "Bearer sk-canary-of-the-provider"


def test_realtime_sound_has_a_price_of_its_own(proxy, vendor, socket_to):
    proxy.add("live", "openai", vendor.url, models=("gpt-realtime",), prices={})
    with socket_to("realtime?model=gpt-realtime", proxy.key(limit_usd=100.0)) as client:
        until(client, "session.created")
        say(client)
        until(client, "response.done")
    fresh = 20 * 4_000 + 80 * 32_000
    assert proxy.settled()[0]["cost_nusd"] == fresh + 20 * 400 + 5 * 16_000 + 25 * 64_000


def test_a_response_that_the_provider_begins_by_itself_is_billed_too(proxy, socket_to):
    with socket_to("realtime?model=fake-1", proxy.key()) as client:
        until(client, "session.created")
        say(client, "input_audio_buffer.append", do="speak")
        until(client, "response.done")
    assert [row["output"] for row in proxy.settled()] == [30]


DEEP = '{"type": "response.create", "model": "dear-1", "input": ' + "[" * 9_000 + "]" * 9_000 + "}"


@pytest.mark.parametrize(
    "asked",
    [
        json.dumps({"type": "response.create", "model": "dear-1"}),
        json.dumps({"type": "response.create", "response": {"model": "dear-1"}}),
        json.dumps({"type": "response.create", "model": "dear-1", "max_output_tokens": 1.5}),
        json.dumps({"type": "response.create", "model": "dear-1"}).encode(),
        '{"type": "response.create", "model": "dear-1", "model": "fake-1"}',
        '{"type": "response.create", "response": {"model": "dear-1"}, "response": null}',
        '{"type": "response.create", "model": "dear-1", "\\u0074ype": "x"}',
        DEEP,
    ],
)
def test_no_message_leads_to_a_model_that_may_not_be_used(proxy, socket_to, vendor, asked):
    """Not even while another response runs, nor in a form that the vendor may read and we do not."""
    with socket_to("responses", proxy.key()) as client:
        say(client, model="fake-1", do="hang")
        until(client, "response.output_text.delta")
        client.send(asked)
        assert closed_by(client).rcvd.code == 1008
    assert [message.get("model") for message in vendor.heard] == ["fake-1"]


def test_a_key_in_the_subprotocol_is_taken_and_not_passed_on(proxy, socket_to, vendor):
    names = ["realtime", f"openai-insecure-api-key.{proxy.key()}"]
    with socket_to("realtime?model=fake-1", "", subprotocols=names) as client:
        assert client.subprotocol == "realtime"
        until(client, "session.created")
    assert "eavs-" not in str(vendor.requests[0].headers)


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("realtime?model=fake-1", "eavs-wrong", 401),
        ("realtime?model=other", None, 403),
        ("realtime", None, 400),
        ("realtime?model=fake-1&%6dodel=dear-1", None, 400),
        ("chat/completions", None, 405),
    ],
)
def test_what_may_not_be_opened_is_refused_as_http(proxy, socket_to, path, key, status):
    with pytest.raises(InvalidStatus) as refused, socket_to(path, key or proxy.key()):
        pass
    assert refused.value.response.status_code == status


def test_without_money_the_socket_is_closed_with_the_reason(proxy, socket_to, vendor):
    with socket_to("responses", proxy.key(limit_usd=0.0)) as client:
        say(client, model="fake-1", input="hi")
        refused = json.loads(client.recv(timeout=10))
        assert (refused["type"], refused["status"], refused["error"]["code"]) == ("error", 402, "budget_exceeded")  # fmt: skip
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
    assert (closed.value.rcvd.code, vendor.heard) == (1008, [])
    assert "does not cover" in closed.value.rcvd.reason


def test_close_codes_pass_both_ways(proxy, socket_to):
    with socket_to("realtime?model=fake-1", proxy.key()) as client:
        until(client, "session.created")
        say(client, "x", do="close")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")


def test_a_client_that_leaves_in_the_middle_pays_an_estimate(proxy, socket_to):
    with socket_to("responses", proxy.key()) as client:
        say(client, model="fake-1", input="hi", do="hang")
        until(client, "response.output_text.delta")
        client.socket.close()
    (row,) = proxy.settled()
    assert (row["is_estimated"], row["output"] > 0) == (1, True)


def test_an_error_instead_of_a_response_costs_nothing(proxy, socket_to):
    with socket_to("responses", proxy.key()) as client:
        say(client, model="fake-1", do="error")
        until(client, "error")
        assert [(row["outcome"], row["cost_nusd"]) for row in proxy.settled()] == [("refused", 0)]


def test_a_response_that_outgrows_its_hold_sets_more_aside(proxy, socket_to):
    with socket_to("responses", proxy.key()) as client:
        say(client, model="fake-1", input="hi", max_output_tokens=10, do="hang", more=60)
        for _ in range(61):
            until(client, "response.output_text.delta")
        wallets = proxy.ask(control.ListWallets(account_id=proxy.name("acc"))).wallets
        held = next(wallet.held_nusd for wallet in wallets if wallet.kind == "session")
    written = (10 + 60 * 50) * 5 / 3.3
    assert held >= written * 15_000


def test_a_response_that_outgrows_all_money_is_cut_with_the_reason(proxy, socket_to):
    with socket_to("responses", proxy.key(limit_usd=0.01)) as client:
        say(client, model="fake-1", input="hi", max_output_tokens=10, more=400)
        closed = closed_by(client)
    assert (closed.rcvd.code, "used up" in closed.rcvd.reason) == (1008, True)
    (row,) = proxy.settled()
    assert (row["outcome"], row["is_estimated"]) == ("cut", 1)
    assert 5_000_000 < row["cost_nusd"] < 15_000_000


HEARD = {
    "type": "tokens",
    "input_tokens": 14,
    "output_tokens": 45,
    "input_token_details": {"audio_tokens": 12},
}
WRITTEN_DOWN = 2 * 2_500 + 12 * 6_000 + 45 * 10_000


@pytest.fixture
def listening(proxy, vendor, socket_to):
    """A realtime session that has asked for transcription by `model`, and has one pending."""
    models = ("gpt-realtime", "gpt-4o-transcribe")

    @contextmanager
    def opened(model="gpt-4o-transcribe"):
        proxy.add("live", "openai", vendor.url, models=models, prices={})
        with socket_to("realtime?model=gpt-realtime", proxy.key(limit_usd=100.0)) as client:
            until(client, "session.created")
            say(client, "session.update", session={"audio": {"input": {"transcription": {"model": model}}}})
            say(client, "input_audio_buffer.append", audio="QUJD" * 40_000)
            say(client, "input_audio_buffer.commit")
            yield client

    return opened


@pytest.mark.parametrize(
    ("usage", "cost", "is_estimated"),
    [
        (HEARD, WRITTEN_DOWN, 0),
        ({"type": "duration", "seconds": 3}, 30 * 6_000 + 30 * 10_000, 1),
        (None, 25 * 6_000 + 25 * 10_000, 1),
    ],
)
def test_what_is_written_down_of_the_sound_is_billed(proxy, listening, usage, cost, is_estimated):
    with listening() as client:
        until(client, "input_audio_buffer.committed")
        (row,) = proxy.rows()
        assert (row["state"], row["model"], row["hold_nusd"] > 0) == ("pending", "gpt-4o-transcribe", True)
        say(client, "x", do="completed", usage=usage)
        until(client, "conversation.item.input_audio_transcription.completed")
    (row,) = proxy.settled()
    assert (row["cost_nusd"], row["is_estimated"]) == (cost, is_estimated)


def test_a_transcription_that_fails_costs_nothing_and_one_that_is_left_does(proxy, listening):
    with listening() as client:
        until(client, "input_audio_buffer.committed")
        say(client, "x", do="failed")
        until(client, "conversation.item.input_audio_transcription.failed")
        say(client, "input_audio_buffer.append", audio="QUJD" * 40_000)
        say(client, "input_audio_buffer.commit")
        until(client, "input_audio_buffer.committed")
    first, second = proxy.settled(2)
    assert (first["cost_nusd"], second["cost_nusd"]) == (0, 25 * 6_000 + 25 * 10_000)


def test_a_transcription_that_nobody_announced_is_billed_as_the_session_is(proxy, vendor, socket_to):
    proxy.add("live", "openai", vendor.url, models=("gpt-realtime",), prices={})
    with socket_to("realtime?model=gpt-realtime", proxy.key(limit_usd=100.0)) as client:
        until(client, "session.created")
        say(client, "x", do="completed", usage=HEARD)
        until(client, "conversation.item.input_audio_transcription.completed")
    (row,) = proxy.settled()
    assert (row["model"], row["cost_nusd"]) == ("gpt-realtime", 2 * 4_000 + 12 * 32_000 + 45 * 16_000)


def test_a_model_that_may_not_be_used_may_not_transcribe_either(proxy, listening, vendor):
    def refused():
        with listening("gpt-4o-mini-transcribe") as client:
            raise closed_by(client)

    with pytest.raises(ConnectionClosed) as closed:
        refused()
    assert closed.value.rcvd.code == 1008
    assert not [m for m in vendor.heard if m["type"] == "session.update"]


def test_a_client_that_talks_on_hears_why_it_was_closed(proxy, socket_to):
    head = (
        "GET /p/live/v1/responses HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {proxy.key(limit_usd=0.0)}\r\n\r\n"
    )
    message = json.dumps({"type": "response.create", "model": "fake-1", "input": "y" * 500_000}).encode()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
        client.sendall(head.encode())
        for _ in range(8):
            client.sendall(Frame(Opcode.TEXT, message).serialize(mask=True))
        client.shutdown(socket.SHUT_WR)
        heard = b"".join(iter(lambda: client.recv(65536), b""))
    _, _, said = heard.partition(b"\r\n\r\n")
    assert (1008).to_bytes(2, "big") in said
    assert b"does not cover" in said


def test_large_messages_pass(proxy, socket_to):
    with socket_to("realtime?model=fake-1", proxy.key()) as client:
        until(client, "session.created")
        say(client, "x", input="y" * 5_000_000)
        assert until(client, "echo")["size"] == 5_000_000


def test_a_provider_that_speaks_no_websocket_is_a_clear_error(proxy, provider):
    headers = {"authorization": f"Bearer {proxy.key()}"}
    url = f"ws://127.0.0.1:{proxy.port}/p/openai/v1/realtime?model=fake-1"
    with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers, proxy=None):
        pass
    assert b"refused the WebSocket with status 200" in refused.value.response.body


def test_realtime_without_a_websocket_says_what_to_do(proxy):
    reply = proxy.client.get("/p/openai/v1/realtime", headers={"x-api-key": proxy.key()})
    assert (reply.status_code, reply.json()["error"]["code"]) == (426, "upgrade_required")
