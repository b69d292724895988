"""Chunks that pass as they stand mean what the parser reads in them, wherever the network cuts."""

from __future__ import annotations

import asyncio
import itertools
import sys

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oqto_plugin_eavs import relay
from oqto_plugin_eavs.connection import NO_TIMEOUTS, Connection
from oqto_plugin_eavs.head import Head
from oqto_plugin_eavs.meters import ChatMeter, MessagesMeter
from oqto_plugin_eavs.request import Request

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORD = b'data: {"model":"m","choices":[{"delta":{"content":"w\xc3\xb6rd "}}]}\n\n'
NAMED = b'event: content_block_delta\ndata: {"type":"x","delta":{"text":"word "}}\n\n'
COUNTS = b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":20}}\n\n'
DONE = b"data: [DONE]\n\n"
EVENTS = [WORD, NAMED, COUNTS, DONE, b": hm\n\n", b"data: [\r\n\r\n", b"data: {\n", b"}\n\n", b"x"]


class Wire:
    """A transport that keeps what is written."""

    def __init__(self):
        self.written, self.is_cut = b"", False

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.is_cut

    def abort(self):
        self.is_cut = True

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


class Client:
    """The way back to a client, and what an HTTP client reads of it."""

    is_full = False

    def __init__(self):
        self.wire, self.body, self.is_done = Wire(), b"", False
        self.send = self.wire.write

    def read(self):
        httptools.HttpResponseParser(self).feed_data(self.wire.written)
        return self.body

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        self.is_done = True


def relayed(reads, *, may_pass, strips=False, room=sys.maxsize, meter=ChatMeter):
    """What a client gets of a reply that arrives in `reads`, what the meter found, and how it ended."""

    async def run():
        connection, client = Connection(lambda _: None, lambda _: None), Client()
        connection.connection_made(Wire())
        connection.send(b"", b"", NO_TIMEOUTS)
        connection.data_received(HEAD)
        request, counts = (
            Request(client, Head("POST", b"/", "1.1", {}, keeps=True), b""),
            meter(),
        )
        counts.strips = strips
        request.begin(200, [])

        def written():
            if counts.text_bytes > room:
                raise relay.OutOfMoney("no more")
            return room

        stream = relay.Stream(connection, counts, request, strips=strips, written=written)
        connection.pour(stream.take, request, 60, stream.take_chunk if may_pass else None)
        for data in reads:
            if connection._error is None and not connection.transport.is_closing():
                connection.data_received(data)
        error = connection._error
        if error is None and connection.is_done:
            stream.ended()
        request.end()
        found = (counts.tokens, counts.text_bytes, counts.model, counts.is_final)
        return client.read(), found, str(error), connection.is_done, client.is_done

    return asyncio.run(run())


def framed(content, *, form=b"%x"):
    return form % len(content) + b"\r\n" + content + b"\r\n"


def cut(data, places):
    bounds = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds) if a < b]


@given(
    data=st.data(),
    events=st.lists(st.sampled_from(EVENTS), min_size=1, max_size=8),
    form=st.sampled_from([b"%x", b"%X", b"0%x", b"%x;a=b"]),
    strips=st.booleans(),
    room=st.sampled_from([0, 7, 12, sys.maxsize]),
    meter=st.sampled_from([ChatMeter, MessagesMeter]),
)
@settings(max_examples=250, deadline=None)
def test_a_reply_means_what_the_parser_reads_in_it(data, events, form, strips, room, meter):
    chunks = [framed(event, form=form) for event in events] + [b"0\r\n\r\n"]
    whole = b"".join(chunks)
    borders = [sum(map(len, chunks[:n])) for n in range(1, len(chunks))]
    places = data.draw(st.sets(st.sampled_from(borders) | st.integers(1, len(whole) - 1)))
    options = {"strips": strips, "room": room, "meter": meter}
    expected = relayed(cut(whole, places), may_pass=False, **options)
    assert relayed(cut(whole, places), may_pass=True, **options) == expected


def test_a_chunk_cut_at_any_byte_means_the_same():
    whole = b"".join(framed(event) for event in [WORD, WORD, NAMED, COUNTS, DONE]) + b"0\r\n\r\n"
    for at in range(1, len(whole)):
        found = relayed([whole[:at], whole[at:]], may_pass=True)
        assert found == relayed([whole], may_pass=False)
        assert found[0] == WORD * 2 + NAMED + COUNTS + DONE


@pytest.mark.parametrize(
    "framing",
    [
        b"4\r\nx\r\n\r\n",
        b"+1\r\nx\r\n",
        b" 1\r\nx\r\n",
        b"0x1\r\nx\r\n",
        b"1_0\r\n" + b"x" * 16 + b"\r\n",
        b"1\r\nxy\r\n",
        b"3\r\nx\r\n",
        b"\r\n1\r\nx\r\n",
        b"1\nx\r\n",
        b"fffffffffffffffff\r\nx\r\n",
    ],
)
def test_what_is_no_chunk_is_refused_as_before(framing):
    reads = [framed(WORD), framing, framed(WORD), b"0\r\n\r\n"]
    assert relayed(reads, may_pass=True) == relayed(reads, may_pass=False)
