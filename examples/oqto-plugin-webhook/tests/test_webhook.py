"""Notices of ended sessions: signed, repeated until they are taken, and never in anybody's way."""

from __future__ import annotations

import hashlib
import hmac
import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from oqto_plugin_webhook import outbox
from sqlmodel import Session as Transaction
from sqlmodel import create_engine

from oqto_platform import Outcome, Session
from oqto_platform.testing import PluginContract

SECRET = "a secret that both know"
SESSION = Session(id="ses_1", account_id="acc_1", workspace="/w")


class TestContract(PluginContract):
    plugin = "webhook"


class Receiver:
    """Refuses the first delivery, takes the second, and keeps what came."""

    def __init__(self) -> None:
        self.came: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.answers = [503, 204]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = outer.answers.pop(0) if outer.answers else 204
                self.send_response(status)
                self.end_headers()
                outer.came.put(({name.lower(): value for name, value in self.headers.items()}, body))

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/notices"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture(scope="module")
def oqto_plugins():
    return ("webhook",)


@pytest.fixture(scope="module")
def oqto_settings(receiver):
    return {"webhook.url": receiver.url, "webhook.secret": SECRET}


def test_the_end_of_a_session_is_told_until_it_is_heard_and_signed(oqto, receiver, session):
    session.stop()
    session.wait_for("settled", "stopped")
    (first, body), (second, again) = receiver.came.get(timeout=60), receiver.came.get(timeout=60)
    assert json.loads(body)["session"]["id"] == session.id
    assert json.loads(body)["outcome"]["reason"] == "asked"
    assert again == body
    assert first["x-oqto-delivery"] == second["x-oqto-delivery"]
    assert is_signed(second, again)
    assert not is_signed(second, again + b" ")


def is_signed(headers, body):
    at, seal = (part.partition("=")[2] for part in headers["x-oqto-signature"].split(","))
    expected = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(seal, expected)


@pytest.fixture
def transaction():
    engine = create_engine("sqlite://")
    outbox.NoticeRow.metadata.create_all(engine)
    with Transaction(engine) as transaction:
        yield transaction
    engine.dispose()


def test_waits_grow_and_have_an_end(transaction):
    notice = outbox.notice_of(SESSION, Outcome(reason="asked"))
    outbox.put(transaction, notice)
    waits = []
    for _try in range(14):
        now = 10.0**9
        (due,) = outbox.due(transaction, 10.0**12)
        outbox.failed(transaction, due, "no", now)
        waits.append(transaction.get(outbox.NoticeRow, SESSION.id).due_at - now)
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == 3600
    assert outbox.waiting(transaction) == (1, "no")


def test_being_told_twice_is_one_notice(transaction):
    for _again in range(2):
        outbox.put(transaction, outbox.notice_of(SESSION, Outcome(reason="asked")))
    assert len(outbox.due(transaction, 10.0**12)) == 1


def test_a_delivery_does_not_take_away_a_newer_end(transaction):
    old = outbox.notice_of(SESSION, Outcome(reason="idle"))
    outbox.put(transaction, old)
    outbox.put(transaction, outbox.notice_of(SESSION, Outcome(reason="asked")))
    outbox.delivered(transaction, old)
    (left,) = outbox.due(transaction, 10.0**12)
    assert '"asked"' in left.body
