"""Any interleaving of append, follow, cut, resume, rotate and crash gives every reader the same story."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oqto_runner.eventlog import EventLog

from oqto_platform import canon
from oqto_platform.wire import Following

STEP = st.one_of(
    st.sampled_from(
        [
            "start",
            "delta",
            "delta",
            "delta",
            "end",
            "tool",
            "progress",
            "tool_end",
            "working",
            "idle",
            "closed",
            "title",
        ]
    ).map(lambda kind: ("append", kind)),
    st.tuples(st.just("batch"), st.integers(2, 40)),
    st.tuples(st.just("read"), st.integers(0, 2)),
    st.tuples(st.just("cut"), st.integers(0, 2)),
    st.tuples(st.just("mood"), st.integers(0, 2)),
    st.tuples(
        st.just("crash"), st.sampled_from(["clean", "torn", "garbage", "history short", "history torn"])
    ),
)


def make(kind, n):
    text = f"piece {n} " + "x" * (n % 40)
    return {
        "start": lambda: canon.MessageStart(message_id=f"m{n % 3}"),
        "delta": lambda: canon.TextDelta(message_id=f"m{n % 3}", delta=text),
        "end": lambda: canon.MessageEnd(
            message=canon.Message(id=f"m{n % 3}", role="assistant", parts=(canon.TextPart(text=text),))
        ),
        "tool": lambda: canon.ToolStart(
            tool_call_id=f"t{n % 2}", name="bash", input={"seq": 5, "event": "x"}
        ),
        "progress": lambda: canon.ToolProgress(tool_call_id=f"t{n % 2}", name="bash", partial_output=text),
        "tool_end": lambda: canon.ToolEnd(tool_call_id=f"t{n % 2}", name="bash", output=',"seq":7,"ts":1}'),
        "working": canon.AgentWorking,
        "idle": canon.AgentIdle,
        "closed": lambda: canon.SessionClosed(reason="asked"),
        "title": lambda: canon.TitleChanged(title=text),
    }[kind]()


def view(lines, oldest):
    """What a person sees: durable events, unfinished messages, the latest output of running tools."""
    durable, open_messages, progress = [], {}, {}
    for line in lines:
        event = msgspec.json.decode(line)
        kind = event["event"]
        if kind not in canon.PASSING:
            durable.append(event)
        if kind == "stream.message_start":
            open_messages[event["message_id"]] = (event["seq"], [])
        elif kind == "stream.message_end":
            open_messages.pop(event["message"]["id"], None)
        elif kind == "stream.text_delta" and event["message_id"] in open_messages:
            open_messages[event["message_id"]][1].append(event)
        elif kind == "tool.progress":
            progress[event["tool_call_id"]] = event
        elif kind in ("tool.start", "tool.end"):
            progress.pop(event["tool_call_id"], None)
        elif kind in ("agent.idle", "session.closed"):
            open_messages.clear()
            progress.clear()
    # A message whose own beginning was dropped for space is told from where it still is.
    told = {k: v for k, (seq, v) in open_messages.items() if seq >= oldest}
    # The latest output of a tool is also kept in memory, but that does not survive a crash.
    return durable, told, {k: v for k, v in progress.items() if v["seq"] >= oldest}


class Reader:
    def __init__(self):
        self.lines, self.seq, self.stream, self.waiting, self.expect, self.resyncs = (
            [],
            0,
            None,
            None,
            None,
            0,
        )
        self.is_keen, self.pushed = False, []

    def push(self, lines):
        """A reader that is not keen refuses, and has to be served from the files."""
        if self.is_keen:
            self.pushed.append(lines)
        return self.is_keen

    def take(self, item, written):
        if isinstance(item, Following):
            assert item.mode == "exact" or item.reset == (self.seq > 0)
            self.restart(item.mode, item.last)
            return
        for line in item.splitlines():
            self.take_line(line, written)

    def restart(self, mode, last):
        if mode == "snapshot":
            self.lines, self.seq = [], 0
        self.expect, self.last = mode, last

    def take_line(self, line, written):
        event = msgspec.json.decode(line)
        if event["event"] == "stream.resync_required":
            self.resyncs += 1
            self.restart("snapshot", None)
            return
        seq = event["seq"]
        assert line == written[seq - 1], "a line differs from what was appended"
        assert seq > self.seq, "a line came twice or out of order"
        assert self.expect == "snapshot" or seq == self.seq + 1, "an exact stream has a hole"
        self.lines.append(line)
        self.seq = seq


class World:
    def __init__(self, folder):
        self.folder, self.written, self.n = folder, [], 0
        self.readers = [Reader() for _ in range(3)]
        self.open()

    def open(self):
        self.log = EventLog(self.folder, "ses_x", "r", segment_bytes=1500, total_bytes=6000)

    def append(self, *kinds):
        events = []
        for kind in kinds:
            self.n += 1
            events.append(make(kind, self.n))
        self.log.append(*events)
        self.written += [canon.encode(event) for event in events]
        assert self.log.last == len(self.written)
        for reader in self.readers:
            while reader.pushed:
                reader.take(reader.pushed.pop(0), self.written)

    async def read(self, reader):
        """One chunk, if there is any; a reader that waits keeps waiting."""
        if reader.stream is None:
            reader.stream = self.log.follow(reader.seq, reader.push)
            reader.take(await anext(reader.stream), self.written)
        reader.waiting = reader.waiting or asyncio.ensure_future(anext(reader.stream))
        await asyncio.wait([reader.waiting], timeout=0.002)
        if not reader.waiting.done():
            return False
        reader.take(reader.waiting.result(), self.written)
        reader.waiting = None
        return True

    async def cut(self, reader):
        if reader.waiting is not None:
            reader.waiting.cancel()
            await asyncio.wait([reader.waiting])
            reader.waiting = None
        if reader.stream is not None:
            await reader.stream.aclose()
            reader.stream = None

    async def crash(self, how):
        for reader in self.readers:
            await self.cut(reader)
        await self.log.synced()
        self.log._segments.close()
        self.log._history.close()
        newest, history = max(self.folder.glob("events-*")), self.folder / "history.jsonl"
        if how == "torn":
            append(newest, b'{"event":"stream.text_delta","message_id":"m0","del')
        elif how == "garbage":
            append(newest, b"\0\0\0\0\n\0\0")
        elif how == "history torn":
            append(history, b'{"event":"agent.id')
        elif how == "history short":
            lines = history.read_bytes().splitlines(keepends=True)
            lost = [line for line in lines[-1:] if msgspec.json.decode(line)["seq"] >= self.log.oldest]
            history.write_bytes(b"".join(lines[: len(lines) - len(lost)]))
        self.open()
        assert self.log.last == len(self.written)

    async def finish(self):
        for reader in self.readers:
            while await self.read(reader):
                pass
            assert view(reader.lines, self.log.oldest) == view(self.written, self.log.oldest)
            await self.cut(reader)
        await self.log.close()


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


async def play(steps):
    folder = Path(tempfile.mkdtemp())
    try:
        world = World(folder)
        for step, what in steps:
            if step == "append":
                world.append(what)
            elif step == "batch":
                world.append(*(["delta", "progress"][n % 2] for n in range(what)))
            elif step == "crash":
                await world.crash(what)
            elif step == "mood":
                world.readers[what].is_keen ^= True
            elif step == "cut":
                await world.cut(world.readers[what])
            else:
                await world.read(world.readers[what])
        await world.finish()
    finally:
        shutil.rmtree(folder)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, max_size=60))
def test_every_reader_sees_the_same_story(steps):
    asyncio.run(play(steps))
