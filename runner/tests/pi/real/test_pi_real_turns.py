"""The real pi against a scripted provider: turns of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from oqto_platform import canon
from oqto_platform.errors import OqtoError

pytestmark = pytest.mark.real


async def test_a_prompt_is_answered_with_thoughts_and_words(start):
    async with start() as pi:
        await pi.turn("[[think Let me see.]] [[say Hello there]]")
        assert pi.talk.is_ready
        assert not pi.talk.is_working
        assert "".join(event.delta for event in pi.of(canon.TextDelta)) == "Hello there"
        assert "".join(event.delta for event in pi.of(canon.ThinkingDelta)) == "Let me see."
        message = pi.of(canon.MessageEnd)[-1].message
        assert (message.model, message.provider, message.stop_reason) == ("fake-1", "proxy", "stop")
        assert message.usage.input_tokens > 0
        assert pi.of(canon.AgentIdle) == [canon.AgentIdle(stop_reason="stop")]


async def test_tools_work_in_the_workspace_and_stay_in_order(start, session):
    async with start() as pi:
        await pi.turn('[[tool bash {"command":"echo hi > out.txt; cat out.txt; cat missing"}]] [[say done]]')
        (ended,) = pi.of(canon.ToolEnd)
        assert Path(session.workspace, "out.txt").read_text() == "hi\n"
        assert ended.is_error
        assert "hi" in ended.output["content"][0]["text"]
        assert ended.duration_ms is not None
        assert pi.said()[-1] == "done"


async def test_steering_and_follow_ups_reach_the_agent_in_one_turn(start):
    async with start() as pi:
        work = pi.send(canon.Prompt(message='[[tool bash {"command":"sleep 1"}]] [[say never]]'))
        await pi.until(lambda: pi.of(canon.ToolStart))
        await pi.do(canon.FollowUp(message="then [[say followed]]"))
        await pi.do(canon.Steer(message="no, [[say steered]]"))
        await pi.until(lambda: pi.of(canon.AgentIdle))
        assert (await work).error is None
        assert [one for one in pi.said() if one] == ["steered", "followed"]
        assert len(pi.asked()) == 3
        assert len(pi.of(canon.AgentIdle)) == 1
        queues = [(event.steering, event.follow_up) for event in pi.of(canon.QueueChanged)]
        assert queues[-1] == ((), ())


@pytest.mark.parametrize("command", [canon.Steer, canon.FollowUp])
async def test_steering_an_idle_agent_starts_a_turn(start, command):
    async with start() as pi:
        await pi.do(command(message="[[say at once]]"))
        await pi.until(lambda: pi.of(canon.AgentIdle))
        assert pi.said() == ["at once"]


@pytest.mark.usefixtures("recent_pi")
async def test_abort_in_the_middle_of_words_ends_queued_messages_too(start, provider):
    async with start() as pi:
        await pi.do(canon.Prompt(message="[[slow 200 0.05]]"))
        await pi.until(lambda: pi.of(canon.TextDelta))
        await pi.do(canon.FollowUp(message="never [[say no]]"))
        assert await pi.do(canon.Abort()) == {"is_confirmed": True}
        await pi.until(lambda: pi.of(canon.AgentIdle))
        assert pi.of(canon.AgentIdle)[0].stop_reason == "aborted"
        assert not pi.of(canon.AgentError)
        await pi.turn("alive? [[say yes]]")
        assert pi.said()[-1] == "yes"
        assert "never" not in str(provider.requests[-1].body)


async def test_abort_in_the_middle_of_a_tool(start):
    async with start() as pi:
        await pi.do(canon.Prompt(message='[[tool bash {"command":"echo begun; sleep 60"}]] [[say never]]'))
        await pi.until(lambda: pi.of(canon.ToolProgress))
        await pi.do(canon.Abort())
        await pi.until(lambda: pi.of(canon.AgentIdle))
        (ended,) = pi.of(canon.ToolEnd)
        assert ended.is_error
        assert "begun" in ended.output["content"][0]["text"]
        assert not pi.of(canon.AgentError)


async def test_abort_right_after_the_prompt(start):
    async with start() as pi:
        await pi.until(lambda: pi.talk.is_ready)
        pi.send(canon.Prompt(message="[[slow 100 0.1]]"))
        pi.send(canon.Abort())
        await pi.until(lambda: pi.of(canon.AgentIdle) and not pi.talk.is_working)
        assert "w99" not in "".join(pi.said())


async def test_models_levels_and_names_can_be_changed(start):
    async with start() as pi:
        assert {"fake-1", "fake-2"} <= {one["id"] for one in (await pi.do(canon.GetModels()))["models"]}
        await pi.do(canon.SetThinkingLevel(level="high"))
        changed = await pi.do(canon.SetModel(provider="proxy", model_id="fake-2"))
        assert changed == {"provider": "proxy", "model_id": "fake-2"}
        assert pi.of(canon.ModelChanged)[-1].model_id == "fake-2"
        with pytest.raises(OqtoError, match="Model not found"):
            await pi.do(canon.SetModel(provider="proxy", model_id="nope"))
        await pi.do(canon.SetSessionName(name="demo"))
        assert pi.of(canon.TitleChanged)[-1].title == "demo"
        state = await pi.do(canon.GetState())
        assert (state["model_id"], state["title"], state["is_working"]) == ("fake-2", "demo", False)
        assert (await pi.do(canon.GetStats()))["tokens"]["total"] == 0
        assert "commands" in await pi.do(canon.GetCommands())


async def test_a_long_conversation_is_compacted(start):
    async with start() as pi:
        for number in range(3):
            await pi.turn(f"turn {number} {'many words ' * 12000} [[say ok]]")
        data = await pi.do(canon.Compact(instructions="be short"))
        assert data["tokens_before"] > 0
        (ended,) = pi.of(canon.CompactEnd)
        assert ended.success
        assert ended.summary
        assert isinstance(pi.events[-1], canon.AgentIdle)


async def test_an_image_reaches_the_model(start, provider, red_square):
    async with start() as pi:
        image = canon.Image(data=red_square, media_type="image/png")
        await pi.turn("what is it? [[say a red square]]", images=(image,))
        (message,) = [end.message for end in pi.of(canon.MessageEnd) if end.message.role == "user"]
        assert isinstance(message.parts[1], canon.ImagePart)
        assert "data:image/png;base64," in str(provider.requests[-1].body)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("[[error 401 9]]", "provider-key-refused", "does not accept the key"),
        ("[[error 400 9]]", "provider-error", "answered with an error"),
    ],
)
async def test_a_provider_that_says_no_is_quoted(start, script, code, words):
    async with start() as pi:
        await pi.turn(f"{script} [[say never]]")
        (error,) = pi.of(canon.AgentError)
        assert (error.code, error.recoverable) == (code, True)
        assert words in error.error
        await pi.turn("[[say better]]")
        assert pi.said()[-1] == "better"


@pytest.mark.parametrize("script", ["[[error 503 1]]", "[[error 429 1]]"])
async def test_a_busy_provider_is_asked_again(start, script):
    async with start() as pi:
        await pi.turn(f"{script} [[say recovered]]")
        assert len(pi.of(canon.RetryStart)) == 1
        assert pi.of(canon.RetryEnd)[0].success
        assert pi.said()[-1] == "recovered"
        assert not pi.of(canon.AgentError)
        assert len(pi.of(canon.AgentIdle)) == 1


async def test_a_cut_connection_is_told_and_waiting_for_the_next_try_can_be_stopped(start):
    async with start() as pi:
        await pi.do(canon.Prompt(message="[[drop]]"))
        await pi.until(lambda: pi.of(canon.RetryStart))
        await pi.do(canon.AbortRetry())
        await pi.until(lambda: pi.of(canon.AgentIdle))
        (error,) = pi.of(canon.AgentError)
        assert "connection" in error.error
        assert pi.said() == ["partial "]


async def test_a_flood_of_output_and_odd_characters_arrive_whole(start):
    words = "line \u2028 separator \u2029 and 🙂 " + "word " * 3000
    async with start() as pi:
        await pi.turn(f"[[say {words}]]")
        assert pi.said()[-1].strip() == words.strip()
