"""Laws: streams mean the same however they are cut; money adds up whatever happens in which order."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oqto_plugin_eavs import jsonarray, prices
from oqto_plugin_eavs.ledger import Bill, Facts, Ledger, Wallet, window_key
from oqto_plugin_eavs.meters import ChatMeter, GeminiMeter, MessagesMeter, ResponsesMeter
from oqto_plugin_eavs.sse import Events, payload
from oqto_plugin_eavs.store import Store

from oqto_platform.errors import BudgetExceeded
from oqto_platform.testing.llm_wires import Chat, Gemini, Messages, Responses, Tokens, ToolCall

WIRES = {"chat": (Chat, ChatMeter), "messages": (Messages, MessagesMeter)}
WIRES |= {"responses": (Responses, ResponsesMeter), "gemini": (Gemini, GeminiMeter)}
COUNTS = Tokens(input=1000, output=500, cache_read=300, reasoning=100)


def recorded(wire, *, ends):
    """A stream with text that looks like framing, a tool call, counts, a comment and a two-line event."""
    told = wire("m", COUNTS, {"stream_options": {"include_usage": True}})
    steps = [
        ("think", "hm "),
        ("text", "data: \\n\\n [DONE] é"),
        ("tool", ToolCall(0, "c1", "bash", '{"a": "b\\n"}')),
    ]
    frames = told.start() + b": a comment\n\n"
    frames += b"".join(told.step(*step) for step in [*steps, ("stop", "tool_calls")]) + told.end()
    return frames.replace(b"\n", ends)


def read(meter, chunks):
    events, passed = Events(), b""
    for chunk in chunks:
        for event in events.feed(chunk):
            meter.event(payload(event))
            passed += event
    return meter, passed + events.rest()


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("name", WIRES)
def test_a_stream_cut_at_any_byte_means_the_same(name, ends):
    wire, meter = WIRES[name]
    stream = recorded(wire, ends=ends)
    for at in range(len(stream) + 1):
        found, passed = read(meter(), [stream[:at], stream[at:]])
        assert passed == stream
        assert (found.tokens.input, found.tokens.output, found.tokens.cache_read) == (1000, 500, 300)


@given(data=st.data(), name=st.sampled_from(sorted(WIRES)), ends=st.sampled_from([b"\n", b"\r\n"]))
@settings(max_examples=60, deadline=None)
def test_a_stream_in_any_pieces_means_the_same(data, name, ends):
    wire, meter = WIRES[name]
    stream = recorded(wire, ends=ends)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=40)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    found, passed = read(meter(), pieces)
    assert passed == stream
    assert found.tokens.output == 500


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_garbage_passes_unchanged_and_raises_nothing(garbage):
    for _, meter in WIRES.values():
        found, passed = read(meter(), [garbage[:7], garbage[7:]])
        assert passed == garbage
        found.whole(garbage)
        tokens, is_estimated = found.best(10)
        assert is_estimated or tokens.output >= 0


def array(count):
    """A Gemini reply as a JSON array, with text that looks like framing."""
    told = Gemini("m", COUNTS, {})
    replies = [told._reply([{"text": f'{number} ],[ {{"x": "\\\\"}}, é'}]) for number in range(count)]
    return json.dumps([*replies, told._reply([], "STOP")], indent=1, ensure_ascii=False).encode()


def read_array(pieces):
    items, meter, passed = jsonarray.Items(), GeminiMeter(), b""
    for piece in pieces:
        for item in items.feed(piece):
            meter.event(jsonarray.payload(item))
            passed += item
    return meter, passed + items.rest()


def test_an_array_cut_at_any_byte_means_the_same():
    whole = array(3)
    for at in range(len(whole) + 1):
        meter, passed = read_array([whole[:at], whole[at:]])
        assert passed == whole
        assert meter.tokens.output == 500
    meter, passed = read_array([whole[at : at + 1] for at in range(len(whole))])
    assert (passed, meter.tokens.output, meter.is_final) == (whole, 500, True)


@pytest.mark.parametrize("kind", [ChatMeter, MessagesMeter, ResponsesMeter, GeminiMeter])
def test_an_event_nested_without_end_passes_and_is_paid_for(kind):
    deep = b'{"candidates": [{"x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}]}"
    meter, other = kind(), kind()
    assert meter.event(deep)
    other.whole(deep)
    for found in (meter, other):
        tokens, is_estimated = found.best(7)
        assert (tokens.input, is_estimated) == (7, True)
        assert tokens.output > 10_000


def test_an_event_of_two_data_lines_is_joined():
    assert payload(b'event: x\ndata: {"a":\ndata:1}\n\n') == b'{"a":\n1}'


class Driver:
    """A ledger with a session in an account on the platform, and what should be true of it."""

    def __init__(self, folder, limits):
        self.folder, self.limits = Path(folder), limits
        self.ids = (f"req_{number}" for number in itertools.count())
        self.open, self.spent, self.overrun = [], 0, 0

    async def start(self):
        self.store = Store(self.folder / "ledger.db", is_durable=False)
        self.ledger = Ledger(self.store)
        await self.ledger.load()
        if "session:s" not in self.ledger.wallets:
            session, account, platform = self.limits
            await self.ledger.set_limit("platform", platform, "total")
            middle = await self.ledger.put_wallet(
                Wallet("account:a", "account", self.ledger.wallets["platform"], limit_nusd=account)
            )
            await self.ledger.put_wallet(Wallet("session:s", "session", middle, limit_nusd=session))
        self.wallet = self.ledger.wallets["session:s"]

    async def reserve(self, hold):
        before = [(w.spent, w.held) for w in self.wallet.chain()]
        fits = all(
            w.limit_nusd is None or w.spent + w.held + hold <= w.limit_nusd for w in self.wallet.chain()
        )
        try:
            call = await self.ledger.open_call(
                next(self.ids), self.wallet, hold, Facts("a", "", "k", "p", "m", "chat")
            )
        except BudgetExceeded:
            assert not fits
            assert before == [(w.spent, w.held) for w in self.wallet.chain()]
        else:
            assert fits
            self.open.append(call)

    async def settle(self, cost):
        if self.open:
            call = self.open.pop(0)
            bill = Bill(prices.Tokens(output=cost), cost, "done", 200)
            await self.ledger.close_call(call, bill)
            await self.ledger.close_call(call, bill)
            self.spent += cost
            self.overrun += max(0, cost - call.hold)

    async def crash(self, _):
        self.spent += sum(call.hold for call in self.open)
        self.open = []
        await self.store.close()
        await self.start()

    def check(self):
        held = sum(call.hold for call in self.open)
        for wallet in self.wallet.chain():
            assert (wallet.total, wallet.spent, wallet.held) == (self.spent, self.spent, held)
            if wallet.limit_nusd is not None:
                assert wallet.spent + wallet.held <= wallet.limit_nusd + self.overrun


LIMIT = st.one_of(st.none(), st.integers(0, 2_000))
STEPS = st.lists(
    st.tuples(st.sampled_from(["reserve", "reserve", "settle", "crash"]), st.integers(0, 500)), max_size=25
)


@given(limits=st.tuples(LIMIT, LIMIT, LIMIT), steps=STEPS)
@settings(max_examples=40, deadline=None)
def test_money_adds_up_through_any_history_and_any_crash(limits, steps):
    async def history():
        with tempfile.TemporaryDirectory() as folder:
            driver = Driver(folder, limits)
            await driver.start()
            for name, amount in steps:
                await getattr(driver, name)(amount)
                driver.check()
            await driver.store.close()

    asyncio.run(history())


def test_windows_open_again_by_the_clock_and_never_by_a_clock_set_back():
    day = 86_400
    wallet = Wallet(
        "w", "account", None, limit_nusd=10, window="day", window_key=window_key("day", 5 * day), spent=10
    )
    wallet.roll(4 * day)
    assert not wallet.has_room(1)
    wallet.roll(6 * day)
    assert wallet.has_room(10)


@given(st.floats(0, 4e9), st.floats(0, 4e9), st.sampled_from(["total", "day", "week", "month"]))
def test_later_windows_have_later_names(one, other, window):
    earlier, later = sorted([one, other])
    assert window_key(window, earlier) <= window_key(window, later)
