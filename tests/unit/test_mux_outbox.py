"""What waits for a client: in order, one frame at a time with the transport, sources held back while it is slow."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oqto_platform.mux.outbox import FRAME_BYTES, HIGH_BYTES, Outbox


class Transport:
    """Takes a frame when told to; `most` is how many it ever held at once."""

    def __init__(self) -> None:
        self.frames: list[str] = []
        self.held: list[asyncio.Future[None]] = []
        self.most = 0

    def send(self, text: str) -> asyncio.Future[None]:
        self.frames.append(text)
        taken = asyncio.get_running_loop().create_future()
        self.held.append(taken)
        self.most = max(self.most, len(self.held))
        return taken

    async def take(self, fault: Exception | None = None) -> None:
        taken = self.held.pop(0)
        if fault is None:
            taken.set_result(None)
        else:
            taken.set_exception(fault)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


class Source:
    pauses = 0

    def pause(self) -> None:
        self.pauses += 1

    def resume(self) -> None:
        self.pauses -= 1


async def test_lines_that_wait_share_a_frame_and_other_frames_stay_alone():
    transport = Transport()
    outbox = Outbox(transport.send)
    for text in ("a", "b", "c"):
        outbox.put(text, is_lines=True)
    outbox.put("alone", is_lines=False)
    outbox.put("d", is_lines=True)
    while transport.held:
        await transport.take()
    assert transport.frames == ["a", "b\nc", "alone", "d"]


async def test_a_shared_frame_does_not_grow_without_end():
    transport = Transport()
    outbox = Outbox(transport.send)
    for _ in range(40):
        outbox.put("x" * (FRAME_BYTES // 8), is_lines=True)
    while transport.held:
        await transport.take()
    assert max(map(len, transport.frames)) <= FRAME_BYTES * 1.2
    assert sum(frame.count("x") for frame in transport.frames) == 40 * (FRAME_BYTES // 8)


async def test_a_slow_client_holds_its_sources_back_and_nothing_is_lost():
    transport, early, late = Transport(), Source(), Source()
    outbox = Outbox(transport.send)
    outbox.attach(early)
    for n in range(5):
        outbox.put(f"{n}" * (HIGH_BYTES // 4), is_lines=False)
    assert early.pauses == 0
    outbox.put("last straw", is_lines=False)
    assert early.pauses == 1
    outbox.attach(late)
    assert late.pauses == 1, "a new subscription does not go round the others"
    while transport.held:
        await transport.take()
    assert (early.pauses, late.pauses) == (0, 0)
    assert [frame[0] for frame in transport.frames] == ["0", "1", "2", "3", "4", "l"]


async def test_what_waits_is_counted_as_the_client_gets_it():
    transport, source = Transport(), Source()
    outbox = Outbox(transport.send)
    outbox.attach(source)
    outbox.put("on its way", is_lines=True)
    outbox.put("好" * (HIGH_BYTES // 2), is_lines=True)
    assert source.pauses == 1, "three bytes each"


async def test_who_sends_hears_when_it_is_gone_and_when_it_never_will_be():
    transport, source = Transport(), Source()
    outbox = Outbox(transport.send)
    outbox.attach(source)
    first = asyncio.ensure_future(outbox.send("first"))
    second = asyncio.ensure_future(outbox.send("second"))
    await asyncio.sleep(0)
    await transport.take()
    await first
    assert not second.done()
    outbox.put("x" * (HIGH_BYTES + 1), is_lines=True)
    await transport.take(ConnectionResetError("gone"))
    with pytest.raises(ConnectionResetError):
        await second
    with pytest.raises(ConnectionResetError):
        await outbox.send("third")
    outbox.put("fourth", is_lines=True)
    assert transport.frames == ["first", "second"]
    assert source.pauses == 0, "nobody would ever wake it"


async def test_a_transport_that_refuses_at_once_is_no_different():
    def send(_text: str) -> asyncio.Future[None]:
        raise ConnectionResetError("gone")

    outbox = Outbox(send)
    outbox.put("event", is_lines=True)
    with pytest.raises(ConnectionResetError):
        await outbox.send("reply")


async def test_what_nobody_waited_for_is_looked_at_by_who_comes_next():
    transport = Transport()
    outbox = Outbox(transport.send)
    outbox.put("event", is_lines=True)
    assert outbox.sending_since is not None
    await transport.take(ConnectionResetError("gone"))
    assert outbox.sending_since is None, "the client does not hold us up"
    with pytest.raises(ConnectionResetError):
        await outbox.send("reply")
    assert transport.frames == ["event"]


async def test_a_good_bye_overtakes_what_was_dropped():
    transport = Transport()
    outbox = Outbox(transport.send)
    outbox.put("on its way", is_lines=True)
    outbox.put("waits", is_lines=True)
    reply = asyncio.ensure_future(outbox.send("reply"))
    await asyncio.sleep(0)
    outbox.drop()
    bye = asyncio.ensure_future(outbox.send("bye"))
    await asyncio.sleep(0)
    while transport.held:
        await transport.take()
    await bye
    assert reply.cancelled()
    assert transport.frames == ["on its way", "bye"]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.text("ab", min_size=1, max_size=3), st.booleans()), max_size=40)
)
def test_any_pace_keeps_every_line_once_and_in_order(steps):
    async def play() -> None:
        transport = Transport()
        outbox = Outbox(transport.send)
        for takes, text, is_lines in steps:
            outbox.put(text, is_lines=is_lines)
            for _ in range(min(takes, len(transport.held))):
                await transport.take()
        while transport.held:
            await transport.take()
        assert [line for frame in transport.frames for line in frame.split("\n")] == [s[1] for s in steps]
        assert transport.most <= 1

    asyncio.run(play())
