"""A plugin of the runner hears of tools and adds events of its own to a session's log."""

from __future__ import annotations

import pytest

from oqto_platform import wire
from oqto_platform.canon import Notify
from oqto_platform.errors import Conflict


async def test_what_a_plugin_tells_is_in_the_log_after_its_cause_and_before_the_end(new_runner):
    runner = await new_runner.start(env={"GOSSIP": "1"})
    session = await runner.begin()
    async with runner.follow(session) as follower:
        await runner.prompt(session, "tool 0.1")
        heard = await follower.until("notify")
        assert heard["message"] == "wait {'seconds': 0.1} gave done"
        assert follower.kinds.index("tool.end") < follower.kinds.index("notify")
        await runner.stop(session)
        assert (await follower.until("notify"))["message"] == "gone: it was stopped on request"
    events = runner.logged(session)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["event"] for event in events[-2:]] == ["notify", "session.closed"]
    assert "too late" not in str(events)


async def test_a_resumed_session_is_told_again_and_ends_each_time(new_runner):
    runner = await new_runner.start(env={"GOSSIP": "1"})
    session = await runner.begin()
    await runner.stop(session)
    await runner.begin(session, resume=True)
    async with runner.follow(session, (await runner.status(session)).seq) as follower:
        await runner.prompt(session, "crash 3")
        await follower.until("session.closed")
    kinds = [event["event"] for event in runner.logged(session)]
    assert kinds.count("notify") == kinds.count("session.closed") == 2
    assert kinds[-1] == "session.closed"


async def test_what_the_core_tells_is_in_the_log_while_the_agent_lives(new_runner):
    runner = await new_runner.start()
    session = await runner.begin()
    message = wire.Tell(session_id=session, event=Notify(level="warning", message="money runs low"))
    async with runner.follow(session) as follower:
        assert isinstance(await runner.call(message), wire.Done)
        assert (await follower.until("notify"))["message"] == "money runs low"
    await runner.stop(session)
    with pytest.raises(Conflict, match="does not live"):
        await runner.call(message)
    assert [event["event"] for event in runner.logged(session)].count("notify") == 1
