"""Followers read at their own pace: exactly, after a cut, and without holding anybody up."""

from __future__ import annotations

import asyncio
import socket

from waiting import async_until

from oqto_platform import wire


async def test_a_cut_follower_resumes_without_hole_or_repeat(runner):
    session_id = await runner.begin()
    await runner.prompt(session_id, "stream 300 2000")
    seqs, after = [], 0
    while True:
        async with runner.follow(session_id, after) as follower:
            assert follower.following.mode == ("exact" if after else "snapshot")
            for _ in range(23):
                event = await follower.next()
                seqs.append(event["seq"])
                after = event["seq"]
                if event["event"] == "agent.idle":
                    assert seqs == list(range(1, len(seqs) + 1))
                    return


async def test_a_latecomer_gets_the_ended_short_and_the_open_whole(runner):
    session_id = await runner.begin()
    await runner.turn(session_id, "one two three")
    async with runner.follow(session_id) as first:
        await runner.prompt(session_id, "stream 100000 50")
        while len([k for k in first.kinds if k == "stream.text_delta"]) < 5:
            await first.next()
        async with runner.follow(session_id) as late:
            assert late.following.mode == "snapshot"
            while late.kinds.count("stream.text_delta") < 5:
                await late.next()
    ended = late.kinds[: late.kinds.index("agent.idle")]
    assert "stream.text_delta" not in ended
    assert [e["delta"] for e in late.events if e["event"] == "stream.text_delta"][:5] == [
        "0 ",
        "1 ",
        "2 ",
        "3 ",
        "4 ",
    ]


async def test_a_latecomer_sees_what_a_running_tool_says(runner):
    session_id = await runner.begin()
    async with runner.follow(session_id) as first:
        await runner.prompt(session_id, "tool 30")
        for _ in range(3):
            progress = await first.until("tool.progress")
        async with runner.follow(session_id) as late:
            seen = await late.until("tool.progress")
    assert late.kinds[-2:] == ["tool.start", "tool.progress"]
    assert seen["seq"] >= progress["seq"]


async def test_a_follower_that_never_reads_stalls_only_itself(runner):
    session_id = await runner.begin()
    stuck = socket.socket(socket.AF_UNIX)
    stuck.connect(runner.socket)
    stuck.sendall(wire.encode(wire.Follow(session_id=session_id)) + b"\n")
    try:
        async with runner.follow(session_id) as keen:
            await runner.prompt(session_id, "flood 30000")
            await keen.until("agent.idle")
        assert [e["seq"] for e in keen.events] == list(range(1, len(keen.events) + 1))
        stuck.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=stuck, limit=wire.LIMIT)
        told = await wire.read_reply(reader)
        assert told.mode == "snapshot"
        lines = [await reader.readline() for _ in range(len(keen.events))]
        assert lines[-1].startswith(b'{"event":"agent.idle"')
        writer.close()
    finally:
        stuck.close()


async def test_an_idle_follower_that_leaves_is_released(runner):
    session_id = await runner.begin()
    before = runner.descriptors()
    streams = [await asyncio.open_unix_connection(runner.socket) for _ in range(10)]
    for reader, writer in streams:
        writer.write(wire.encode(wire.Follow(session_id=session_id)) + b"\n")
        await reader.readline()
    # One less than ten: the connection of the start may still have been counted before.
    assert runner.descriptors() >= before + 9
    for _, writer in streams:
        writer.close()
    await async_until(lambda: runner.descriptors() <= before, "release of the followers")


async def test_an_ended_session_can_be_followed_and_goes_on_when_resumed(runner):
    session_id = await runner.begin()
    await runner.turn(session_id, "hello")
    await runner.stop(session_id)
    async with runner.follow(session_id) as follower:
        await follower.until("session.closed")
        await runner.begin(session_id, resume=True)
        created = await follower.until("session.created")
    assert created["resumed"] is True


async def test_a_deleted_session_ends_its_followers(runner):
    session_id = await runner.begin()
    async with runner.follow(session_id) as follower:
        await follower.until("session.created")
        await runner.call(wire.Delete(session_id=session_id))
        while await follower.next():
            pass
    assert follower.kinds[-1] == "session.closed"


async def test_open_tabs_do_not_keep_a_session_awake_but_turns_do(runner):
    session_id = await runner.begin()
    async with runner.follow(session_id) as follower:
        await follower.until("session.created")
        await asyncio.sleep(0.4)
        from oqto_platform import canon

        await runner.send(session_id, canon.GetState())
        assert (await runner.status(session_id)).idle_s >= 0.4
        await runner.prompt(session_id, "stream 40 50")
        await asyncio.sleep(0.3)
        status = await runner.status(session_id)
        assert (status.state, status.idle_s) == ("working", 0)
        await follower.until("agent.idle")
        assert (await runner.status(session_id)).idle_s < 0.4


async def test_a_position_that_never_was_gets_a_fresh_story(runner):
    session_id = await runner.begin()
    async with runner.follow(session_id, after=999) as follower:
        assert (follower.following.mode, follower.following.reset) == ("snapshot", True)
        assert (await follower.next())["event"] == "session.created"
