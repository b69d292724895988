"""What the event log keeps when the disk, the reader or the power does not."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import msgspec
import pytest
from oqto_runner.eventlog import EventLog

from oqto_platform import canon
from oqto_platform.errors import DiskFull
from oqto_platform.wire import Following


def delta(text="hello", message="m1"):
    return canon.TextDelta(message_id=message, delta=text)


def end(text="hello", message="m1", role="assistant", client_id=None):
    parts = (canon.TextPart(text=text),)
    return canon.MessageEnd(message=canon.Message(id=message, role=role, parts=parts, client_id=client_id))


@pytest.fixture
async def log(tmp_path):
    made = EventLog(tmp_path / "log", "ses_x", "r", segment_bytes=4000, total_bytes=16000)
    yield made
    await made.close()


async def read(log, after, until):
    """Everything that a follower gets up to event `until`, and how it was announced."""
    told, lines = [], []
    stream = log.follow(after)
    async with asyncio.timeout(10):
        async for item in stream:
            if isinstance(item, Following):
                told.append(item)
                continue
            lines += [msgspec.json.decode(line) for line in item.splitlines()]
            if lines and lines[-1].get("seq", 0) >= until:
                break
    await stream.aclose()
    return told[0], lines


async def test_events_are_on_disk_before_append_returns(log, tmp_path):
    log.append(canon.AgentWorking(), delta())
    written = next((tmp_path / "log").glob("events-*")).read_bytes()
    assert [msgspec.json.decode(line)["seq"] for line in written.splitlines()] == [1, 2]
    history = (tmp_path / "log" / "history.jsonl").read_bytes()
    assert [msgspec.json.decode(line)["event"] for line in history.splitlines()] == ["agent.working"]


async def test_a_follower_that_breaks_harms_neither_the_log_nor_the_others(log):
    def break_down(lines):
        raise RuntimeError("the handler is closed")

    heard = []
    streams = [log.follow(0, break_down), log.follow(0, lambda lines: heard.append(lines) or True)]
    for stream in streams:
        await anext(stream)
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await asyncio.sleep(0)
    log.append(delta("one"))
    log.append(delta("two"))
    assert [b"one" in heard[0], b"two" in heard[1]] == [True, True]
    assert (await asyncio.wait_for(waiting[0], 10)).count(b"\n") == 2
    waiting[1].cancel()


async def test_files_are_private(log, tmp_path):
    log.append(delta())
    log.reserve.ensure_room(10)
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "log").iterdir()} == {0o600}


async def test_what_lies_beyond_the_limit_is_dropped_but_never_a_durable_event(log, tmp_path):
    for n in range(200):
        log.append(canon.MessageStart(message_id="m1"), delta("x" * 100), end(f"text {n}"))
    assert log.oldest > 1
    assert sum(p.stat().st_size for p in (tmp_path / "log").glob("events-*")) <= 16000 + 4000
    told, events = await read(log, 0, log.last)
    assert told.mode == "snapshot"
    texts = [e["message"]["parts"][0]["text"] for e in events if e["event"] == "stream.message_end"]
    assert texts == [f"text {n}" for n in range(200)]


async def test_a_reader_that_fell_behind_hears_it_once_and_starts_over(log):
    log.append(*(delta(str(n)) for n in range(10)))
    stream = log.follow(2)
    assert (await anext(stream)).mode == "exact"
    await anext(stream)
    for n in range(200):
        log.append(canon.MessageStart(message_id="m1"), delta("x" * 100), end(f"text {n}"))
    lines = []
    async with asyncio.timeout(10):
        while not lines or lines[-1].get("seq") != log.last:
            lines += [msgspec.json.decode(line) for line in (await anext(stream)).splitlines()]
    await stream.aclose()
    kinds = [line["event"] for line in lines]
    assert kinds.count("stream.resync_required") == 1
    after = lines[kinds.index("stream.resync_required") + 1 :]
    assert after[0]["seq"] == 11
    assert lines[kinds.index("stream.resync_required")]["oldest"] == log.oldest
    assert [e["seq"] for e in after] == sorted({e["seq"] for e in after})


async def test_a_snapshot_shows_the_latest_output_of_each_running_tool_only(log):
    log.append(canon.ToolStart(tool_call_id="a", name="bash"), canon.ToolStart(tool_call_id="b", name="bash"))
    for n in range(20):
        log.append(canon.ToolProgress(tool_call_id="ab"[n % 2], name="bash", partial_output=n))
    log.append(canon.ToolEnd(tool_call_id="a", name="bash"), canon.Notify(message="hello"))
    _, events = await read(log, 0, log.last)
    assert [(e["event"], e.get("partial_output")) for e in events] == [
        ("tool.start", None),
        ("tool.start", None),
        ("tool.progress", 19),
        ("tool.end", None),
        ("notify", None),
    ]


async def test_lines_longer_than_a_chunk_come_whole(tmp_path):
    log = EventLog(tmp_path / "log", "ses_x", "r")
    texts = ["a" * 900_000, "b", "c" * 300_000]
    log.append(*(canon.Notify(message=text) for text in texts))
    log.append(*(delta("d" * 700_000) for _ in range(3)))
    for after in (0, 1):
        _, events = await read(log, after, 3)
        assert [e["message"] for e in events if e["event"] == "notify"] == texts[after:]
    _, events = await read(log, 3, 6)
    assert [len(e["delta"]) for e in events] == [700_000] * 3
    await log.close()


async def test_client_ids_survive_and_only_those_of_people_count(log, tmp_path):
    log.append(end(message="u1", role="user", client_id="c1"), end('{"client_id":"fake"}', role="assistant"))
    log.append(canon.ToolStart(tool_call_id="t", name="x", input={"client_id": "tool"}))
    log.append(end(message="u2", role="user", client_id="c2"), end(message="u3", role="user"))
    assert log.client_ids(10) == ["c1", "c2"]
    assert log.client_ids(1) == ["c2"]
    await log.close()
    again = EventLog(tmp_path / "log", "ses_x", "r")
    assert again.client_ids(10) == ["c1", "c2"]
    await again.close()


async def test_segments_without_their_beginning_are_not_trusted(tmp_path):
    log = EventLog(tmp_path / "log", "ses_x", "r")
    log.append(canon.AgentWorking(), delta(), canon.AgentIdle())
    await log.close()
    segment = next((tmp_path / "log").glob("events-*"))
    segment.write_bytes(segment.read_bytes().splitlines(keepends=True)[0])
    log = EventLog(tmp_path / "log", "ses_x", "r")
    assert (log.last, log.oldest) == (3, 4)
    log.append(canon.AgentWorking())
    told, events = await read(log, 2, 4)
    assert (told.mode, told.reset) == ("snapshot", True)
    assert [e["seq"] for e in events] == [1, 3, 4]
    await log.close()


@pytest.fixture
def small_files():
    """Files may not grow beyond 20 kB: what a full disk looks like to one process."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


def fill(log):
    while True:
        log.append(delta("x" * 700), canon.Notify(message="y" * 700))


async def test_a_full_disk_takes_nothing_that_was_shown_and_gaps_nothing(tmp_path, small_files):
    log = EventLog(tmp_path / "log", "ses_x", "r")
    with pytest.raises(DiskFull, match="is full"):
        fill(log)
    told = log.last
    with pytest.raises(DiskFull):
        log.append(canon.Notify(message="z" * 20_000))
    assert log.last == told
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**9, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    log.append(canon.Notify(message="there is space again"))
    _, events = await read(log, 1, told + 1)
    assert [e["seq"] for e in events] == list(range(2, told + 2))
    await log.close()


async def test_following_ends_when_the_log_is_closed(log, tmp_path):
    stream = log.follow(0)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream, None))
    await asyncio.sleep(0)
    await log.close()
    assert await waiting is None
    opened = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.exists()]
    assert not [path for path in opened if path.startswith(str(tmp_path))]
