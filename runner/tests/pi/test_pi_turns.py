"""When the agent works, is idle, fails and is stopped."""

from __future__ import annotations

from oqto_platform import canon
from oqto_platform.errors import Conflict

# Turns


def test_one_turn_has_one_idle(driver):
    driver.do(canon.Prompt(message="go"))
    driver.respond("prompt")
    driver.run_begins("go")
    driver.says("hi")
    driver.run_ends()
    assert driver.names() == [
        "stream.message_end",
        "agent.working",
        "stream.message_start",
        "stream.text_delta",
        "stream.message_end",
        "agent.idle",
    ]
    assert driver.of(canon.AgentIdle)[0].stop_reason == "stop"
    assert not driver.talk.is_working


def test_old_pi_is_idle_after_a_quiet_moment_and_a_look(driver):
    driver.run_begins("go")
    driver.says("hi")
    driver.run_ends(is_old=True)
    assert not driver.of(canon.AgentIdle)
    driver.tick(0.25)
    driver.respond("get_state", {"isStreaming": False})
    assert driver.names()[-1] == "agent.idle"


def test_old_pi_that_tries_again_is_not_idle(driver):
    driver.run_begins("go")
    driver.says(stop="error", errorMessage="503 busy")
    driver.run_ends(is_old=True)
    driver.tell(
        {"type": "auto_retry_start", "attempt": 1, "maxAttempts": 3, "delayMs": 9000, "errorMessage": "503"}
    )
    for _ in range(20):
        driver.tick(0.25)
    assert not driver.sent("get_state")[1:]
    assert not driver.of(canon.AgentIdle)
    driver.tell({"type": "agent_start"})
    driver.says("hi")
    driver.tell({"type": "auto_retry_end", "success": True, "attempt": 1})
    driver.run_ends(is_old=True)
    driver.tick(0.25)
    driver.respond("get_state", {"isStreaming": False})
    assert driver.of(canon.AgentIdle) == [canon.AgentIdle(stop_reason="stop")]
    assert not driver.of(canon.AgentError)


def test_old_pi_asked_while_it_compacts_is_asked_again(driver):
    driver.run_begins("go")
    driver.says("hi")
    driver.run_ends(is_old=True)
    driver.tick(0.25)
    driver.respond("get_state", {"isStreaming": False, "isCompacting": True})
    assert not driver.of(canon.AgentIdle)
    driver.tick(0.5)
    driver.respond("get_state", {"isStreaming": False, "isCompacting": False})
    assert len(driver.of(canon.AgentIdle)) == 1


def test_a_look_that_is_overtaken_by_a_prompt_ends_nothing(driver):
    driver.run_begins("go")
    driver.says("hi")
    driver.run_ends(is_old=True)
    driver.tick(0.25)
    driver.do(canon.Prompt(message="more"))
    assert driver.names()[-3:] == ["agent.idle", "stream.message_end", "agent.working"]
    driver.respond("get_state", {"isStreaming": False})
    assert len(driver.of(canon.AgentIdle)) == 1
    assert driver.talk.is_working


def test_a_lost_end_of_a_turn_is_noticed(driver):
    driver.run_begins("go")
    driver.says("hi")
    driver.tell({"type": "agent_end", "willRetry": False})
    driver.tick(6)
    driver.respond("get_state", {"isStreaming": False})
    assert driver.names()[-1] == "agent.idle"


def test_a_long_silent_tool_is_not_taken_for_the_end(driver):
    driver.run_begins("go")
    driver.tell({"type": "tool_execution_start", "toolCallId": "t1", "toolName": "bash", "args": {}})
    for _ in range(5):
        driver.tick(40)
        driver.respond("get_state", {"isStreaming": True})
    assert not driver.of(canon.AgentIdle)
    assert driver.talk.is_working


def test_a_failed_turn_says_why_in_words(driver):
    driver.run_begins("go")
    body = '{"error":{"message":"Budget of this session is used up","code":"budget-exceeded"}}'
    driver.says(stop="error", errorMessage=f"402: {body}")
    driver.run_ends()
    error = driver.of(canon.AgentError)[0]
    assert error.recoverable
    assert error.code == "budget-exceeded"
    assert "Budget of this session is used up" in error.error
    assert driver.names()[-2:] == ["agent.error", "agent.idle"]


def test_phases_follow_the_work(driver):
    driver.run_begins("go")
    driver.tell({"type": "message_start", "message": {"role": "assistant"}})
    for kind in ("thinking_start", "thinking_delta", "text_start"):
        update = {"type": kind, "contentIndex": 0, "delta": "x"}
        driver.tell({"type": "message_update", "assistantMessageEvent": update})
    driver.tell({"type": "tool_execution_start", "toolCallId": "t1", "toolName": "bash", "args": {}})
    driver.tell({"type": "tool_execution_start", "toolCallId": "t2", "toolName": "read", "args": {}})
    driver.tell({"type": "tool_execution_end", "toolCallId": "t2", "toolName": "read", "result": {}})
    driver.tell({"type": "tool_execution_end", "toolCallId": "t1", "toolName": "bash", "result": {}})
    driver.tell({"type": "auto_compaction_start", "reason": "threshold"})
    phases = [(event.phase, event.detail) for event in driver.of(canon.AgentWorking)]
    assert phases == [
        ("generating", ""),
        ("thinking", ""),
        ("generating", ""),
        ("tool_running", "bash"),
        ("tool_running", "read"),
        ("tool_running", "bash"),
        ("generating", ""),
        ("compacting", ""),
    ]


# Abort


def test_abort_empties_the_queue_first_and_is_answered_by_pi(driver):
    driver.do(canon.Prompt(message="go"))
    driver.respond("prompt")
    driver.run_begins("go")
    driver.begins_to_say("w0 ")
    driver.events.clear()
    token = driver.do(canon.Abort())
    assert [line["type"] for line in driver.lines[-2:]] == ["clear_queue", "abort"]
    assert not driver.events
    assert token not in driver.answers
    content = [{"type": "text", "text": "w0 "}]
    driver.tell(
        {"type": "message_end", "message": {"role": "assistant", "content": content, "stopReason": "aborted"}}
    )
    driver.run_ends()
    driver.respond("abort")
    assert driver.answer(token).data == {"is_confirmed": True}
    assert driver.names() == ["stream.message_end", "agent.idle"]
    assert driver.of(canon.AgentIdle)[0].stop_reason == "aborted"


def test_abort_in_a_tool_is_no_error(driver):
    driver.run_begins("go")
    driver.do(canon.Abort())
    driver.says(stop="error", errorMessage="This operation was aborted")
    driver.run_ends()
    assert not driver.of(canon.AgentError)
    assert driver.of(canon.AgentIdle)[0].stop_reason == "aborted"


def test_abort_while_idle_is_answered_at_once(driver):
    token = driver.do(canon.Abort())
    assert driver.answer(token).error is None
    assert not driver.sent("abort")


def test_abort_is_answered_when_pi_does_not(driver):
    driver.run_begins("go")
    token = driver.do(canon.Abort())
    driver.tick(5.5)
    assert driver.answer(token).data == {"is_confirmed": False}


def test_abort_catches_a_prompt_that_pi_has_not_begun(driver):
    driver.do(canon.Prompt(message="go"))
    driver.do(canon.Abort())
    driver.respond("abort")
    driver.respond("prompt")
    assert [line["type"] for line in driver.lines[-2:]] == ["clear_queue", "abort"]
    assert len(driver.sent("abort")) == 2


def test_abort_before_pi_is_ready_drops_the_message(fresh_driver):
    driver = fresh_driver().open(is_ready=False)
    prompt = driver.do(canon.Prompt(message="early"))
    abort = driver.do(canon.Abort())
    assert isinstance(driver.answer(prompt).error, Conflict)
    assert driver.answer(abort).error is None
    assert driver.of(canon.AgentIdle) == [canon.AgentIdle(stop_reason="aborted")]
    driver.respond("get_state", {})
    assert not driver.sent("prompt")


def test_a_prompt_during_an_abort_waits_for_its_end(driver):
    driver.run_begins("go")
    driver.do(canon.Abort())
    driver.do(canon.Prompt(message="next"))
    assert not driver.sent("prompt")
    driver.run_ends()
    driver.respond("abort")
    assert driver.sent("prompt")[0]["message"] == "next"


def test_abort_closes_questions_that_hold_the_run(driver):
    driver.run_begins("go")
    driver.tell({"type": "extension_ui_request", "id": "q1", "method": "confirm", "title": "Sure?"})
    driver.do(canon.Abort())
    assert driver.of(canon.InputResolved) == [canon.InputResolved(request_id="q1", reason="cancelled")]
    assert driver.lines[-1] == {"type": "extension_ui_response", "id": "q1", "cancelled": True}
