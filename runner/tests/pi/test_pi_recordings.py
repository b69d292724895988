"""Every stream that a real pi wrote: nothing is lost, everything that opens is closed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oqto_platform import canon

FIXTURES = Path(__file__).with_name("fixtures")
RECORDINGS = sorted(FIXTURES.glob("0.*/*.jsonl"))
KILLED = {"x1_", "x2_", "x3_kill", "s12_errors.jsonl"}


@pytest.fixture(params=RECORDINGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def recording(request):
    return request.param


@pytest.fixture
def told(recording):
    """What pi wrote."""
    records = [json.loads(line) for line in recording.read_text().split("\n") if line]
    return [one["data"] for one in records if one["dir"] == "out" and isinstance(one["data"], dict)]


@pytest.fixture
def driver(recording, replayed):
    return replayed(recording)


def ended(told, role):
    return [one["message"] for one in told if one["type"] == "message_end" and one["message"]["role"] == role]


def blocks(messages, kind, key):
    return [block[key] for message in messages for block in message["content"] if block["type"] == kind]


def parts(driver, kind):
    ends = driver.of(canon.MessageEnd)
    return [part for end in ends for part in end.message.parts if isinstance(part, kind)]


def test_all_that_the_assistant_said_arrives(told, driver):
    said = ended(told, "assistant")
    assistant = [end.message for end in driver.of(canon.MessageEnd) if end.message.role == "assistant"]
    kept = [part for message in assistant for part in message.parts]
    # Messages that pi never ended are there too, as far as they were streamed.
    texts = iter([p.text for p in kept if isinstance(p, canon.TextPart)])
    assert all(text in texts for text in blocks(said, "text", "text"))
    assert [p.text for p in kept if isinstance(p, canon.ThinkingPart)] == blocks(said, "thinking", "thinking")
    assert [p.tool_call_id for p in kept if isinstance(p, canon.ToolCallPart)] == blocks(
        said, "toolCall", "id"
    )
    assert [p.input for p in kept if isinstance(p, canon.ToolCallPart)] == blocks(
        said, "toolCall", "arguments"
    )


def test_deltas_add_up_to_the_final_message(driver):
    streamed: dict[tuple[str, int], str] = {}
    for event in driver.events:
        if isinstance(event, canon.TextDelta | canon.ThinkingDelta):
            key = (event.message_id, event.content_index)
            streamed[key] = streamed.get(key, "") + event.delta
    for end in driver.of(canon.MessageEnd):
        for index, part in enumerate(end.message.parts):
            if end.message.role == "assistant" and isinstance(part, canon.TextPart | canon.ThinkingPart):
                assert streamed.pop((end.message.id, index)) == part.text
    driver.events.clear()
    driver.close()
    broken_off = {
        (end.message.id, i): p.text
        for end in driver.of(canon.MessageEnd)
        for i, p in enumerate(end.message.parts)
    }
    assert broken_off == streamed


def test_tool_calls_stream_under_their_real_ids(told, driver):
    updates = [one["assistantMessageEvent"] for one in told if one["type"] == "message_update"]
    ids = [one["toolCall"]["id"] for one in updates if one["type"] == "toolcall_end"]
    assert [event.tool_call_id for event in driver.of(canon.ToolCallEnd)] == ids
    assert [event.tool_call_id for event in driver.of(canon.ToolCallStart)] == ids
    for call_id in ids:
        deltas = "".join(e.delta for e in driver.of(canon.ToolCallDelta) if e.tool_call_id == call_id)
        (end,) = [event for event in driver.of(canon.ToolCallEnd) if event.tool_call_id == call_id]
        assert json.loads(deltas) == end.input


def test_results_and_errors_of_tools_arrive_once(told, driver):
    results = [one for one in told if one["type"] == "tool_execution_end"]
    ends = {event.tool_call_id: event for event in driver.of(canon.ToolEnd)}
    assert len(driver.of(canon.ToolEnd)) == len(results) == len(ends)
    for result in results:
        end = ends[result["toolCallId"]]
        assert (end.output["content"], end.is_error) == (result["result"]["content"], result["isError"])
        assert end.duration_ms is not None


def test_every_user_message_arrives_once(told, driver):
    expected = ["".join(block.get("text", "") for block in one["content"]) for one in ended(told, "user")]
    users = [end.message for end in driver.of(canon.MessageEnd) if end.message.role == "user"]
    arrived = ["".join(p.text for p in one.parts if isinstance(p, canon.TextPart)) for one in users]
    assert arrived == expected


def test_one_idle_per_settled_turn(recording, told, driver):
    settled = sum(one["type"] == "agent_settled" for one in told)
    if recording.parent.name == "0.74.2":
        settled = turns_of_old_pi(told)
    # A compaction that a person asked for is a turn of its own.
    asked = [one for one in told if one["type"] == "compaction_end" and one["reason"] == "manual"]
    inside = sum(is_inside_run(told, one) for one in asked)
    assert len(driver.of(canon.AgentIdle)) == settled + len(asked) - inside


def turns_of_old_pi(told):
    """Runs that no retry and no automatic compaction followed."""
    count = 0
    for one, after in zip(told, [*told[1:], {"type": ""}], strict=True):
        follows = after["type"] == "auto_retry_start" or after.get("reason") in {"threshold", "overflow"}
        count += one["type"] == "agent_end" and not follows
        count += one["type"] == "compaction_end" and one["reason"] != "manual"
    return count


def is_inside_run(told, event):
    before = told[: told.index(event)]
    starts = sum(one["type"] == "agent_start" for one in before)
    return starts > sum(one["type"] == "agent_end" for one in before)


def test_starts_and_ends_balance(driver):
    driver.close()
    starts = [event.message_id for event in driver.of(canon.MessageStart)]
    ends = [end.message.id for end in driver.of(canon.MessageEnd)]
    assert len(set(ends)) == len(ends)
    assert [one for one in ends if one in starts] == starts
    assert sorted(e.tool_call_id for e in driver.of(canon.ToolStart)) == sorted(
        e.tool_call_id for e in driver.of(canon.ToolEnd)
    )
    assert len(driver.of(canon.CompactStart)) == len(driver.of(canon.CompactEnd))
    assert not driver.talk.is_working


def test_nothing_of_a_turn_comes_after_its_idle(driver):
    is_open = False
    inside = (canon.MessageStart, canon.TextDelta, canon.ToolStart, canon.ToolEnd, canon.RetryStart)
    for event in driver.events:
        if isinstance(event, canon.AgentWorking):
            is_open = True
        elif isinstance(event, canon.AgentIdle):
            assert is_open
            is_open = False
        elif isinstance(event, inside):
            assert is_open


def test_a_failed_turn_says_why(told, driver):
    failed = [one["errorMessage"] for one in ended(told, "assistant") if one.get("stopReason") == "error"]
    kept = [end.message.metadata.get("error") for end in driver.of(canon.MessageEnd)]
    assert [one for one in kept if one in failed] == failed


def test_is_idle_at_the_end_unless_pi_was_killed(recording, driver):
    if any(name in recording.name for name in KILLED):
        driver.close("pi was killed (SIGKILL)")
        assert driver.of(canon.AgentError)[-1].recoverable is False
        assert driver.names()[-1] == "agent.idle"
    assert not driver.talk.is_working or recording.stem == "s09_extension_ui"


def test_events_can_be_sent_over_the_wire(driver):
    for event in driver.events:
        assert canon.decode_event(canon.encode(event)) == event
