"""What a person may rely on while talking with pi, whatever pi does."""

from __future__ import annotations

import msgspec
import pytest

from oqto_platform import canon
from oqto_platform.errors import AgentFailed, Conflict, Invalid, NotFound

from_pi = {"type": "response", "success": True}


def users(driver):
    return [end.message for end in driver.of(canon.MessageEnd) if end.message.role == "user"]


def words(message):
    return "".join(part.text for part in message.parts if isinstance(part, canon.TextPart))


# Getting ready


def test_prompts_wait_until_pi_answers_and_are_logged_at_once(fresh_driver):
    driver = fresh_driver().open(is_ready=False)
    token = driver.do(canon.Prompt(message="early", client_id="c1"))
    assert [words(one) for one in users(driver)] == ["early"]
    assert driver.of(canon.AgentWorking)[0].phase == "initializing"
    assert not driver.talk.is_ready
    assert not driver.sent("prompt")
    driver.respond("get_state", {"model": {"id": "m", "provider": "p"}})
    assert driver.talk.is_ready
    assert driver.sent("prompt")[0]["message"] == "early"
    driver.respond("prompt")
    assert driver.answer(token).data == {"message_id": users(driver)[0].id}


def test_a_pi_that_never_gets_ready_fails_the_prompt(fresh_driver):
    driver = fresh_driver().open(is_ready=False)
    token = driver.do(canon.Prompt(message="early"))
    driver.tick(31)
    assert "did not answer" in driver.answer(token).error.detail
    assert driver.names()[-2:] == ["agent.error", "agent.idle"]


def test_tells_the_model_that_pi_really_uses(fresh_driver):
    driver = fresh_driver().open(is_ready=False)
    driver.respond("get_state", {"model": {"id": "m", "provider": "p"}, "thinkingLevel": "high"})
    assert driver.of(canon.ModelChanged) == [canon.ModelChanged(provider="p", model_id="m")]
    assert driver.of(canon.ThinkingLevelChanged)[0].level == "high"


# Messages of persons


def test_the_message_is_logged_before_pi_has_it(driver):
    image = canon.Image(data="aGk=", media_type="image/png")
    driver.do(canon.Prompt(message="look", images=(image,), client_id="c1"))
    step = driver.steps[-1]
    assert isinstance(step.events[0], canon.MessageEnd)
    message = step.events[0].message
    assert (message.client_id, message.role) == ("c1", "user")
    assert [type(part) for part in message.parts] == [canon.TextPart, canon.ImagePart]
    line = msgspec.json.decode(step.lines[0])
    assert line["images"] == [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]


def test_the_same_client_id_has_no_second_effect(driver):
    first = driver.do(canon.Prompt(message="once", client_id="c1"))
    driver.respond("prompt")
    again = driver.do(canon.Prompt(message="once", client_id="c1"))
    assert driver.answer(again).data["message_id"] == driver.answer(first).data["message_id"]
    assert len(users(driver)) == len(driver.sent("prompt")) == 1


def test_a_refused_prompt_may_be_sent_again(driver):
    refused = driver.do(canon.Prompt(message="hi", client_id="c1"))
    driver.respond("prompt", error="No API key found for the selected model.\n\nUse /login to log in")
    assert driver.answer(refused).error.detail == "No API key found for the selected model."
    assert driver.names()[-2:] == ["agent.error", "agent.idle"]
    driver.do(canon.Prompt(message="hi", client_id="c1"))
    assert len(driver.sent("prompt")) == 2


@pytest.mark.parametrize("message", ["", "  \n"])
def test_an_empty_message_is_refused(driver, message):
    token = driver.do(canon.Prompt(message=message))
    assert isinstance(driver.answer(token).error, Invalid)
    assert not driver.events


def test_something_that_is_no_image_is_refused(driver):
    token = driver.do(canon.Prompt(message="x", images=(canon.Image(data="", media_type="text/html"),)))
    assert "media_type" in driver.answer(token).error.detail


@pytest.mark.parametrize(
    ("command", "behavior"),
    [(canon.Prompt, "steer"), (canon.Steer, "steer"), (canon.FollowUp, "followUp")],
)
def test_every_kind_of_message_starts_a_turn_when_idle_and_queues_otherwise(driver, command, behavior):
    driver.do(command(message="go"))
    (line,) = driver.sent("prompt")
    assert line["streamingBehavior"] == behavior


def test_pi_repeating_our_message_is_no_second_message(driver):
    driver.do(canon.Prompt(message="go"))
    driver.respond("prompt")
    driver.run_begins("go")
    driver.do(canon.FollowUp(message="then"))
    driver.tell({"type": "queue_update", "steering": [], "followUp": ["then"]})
    driver.respond("prompt")
    driver.says("done")
    driver.tell({"type": "queue_update", "steering": [], "followUp": []})
    driver.user("then")
    driver.says("done again")
    driver.run_ends()
    assert [words(one) for one in users(driver)] == ["go", "then"]


def test_a_message_that_an_extension_sends_is_told(driver):
    driver.do(canon.Prompt(message="go"))
    driver.respond("prompt")
    driver.run_begins("go")
    driver.user("from an extension")
    driver.says("ok")
    driver.run_ends()
    driver.run_begins("by itself")
    assert [words(one) for one in users(driver)] == ["go", "from an extension", "by itself"]


def test_equal_messages_are_told_as_often_as_they_were_sent(driver):
    for _ in range(2):
        driver.do(canon.Prompt(message="again"))
        driver.respond("prompt")
    driver.run_begins("again")
    driver.user("again")
    driver.user("again")
    assert [words(one) for one in users(driver)] == ["again"] * 3


def test_a_template_replaces_the_words_under_the_same_id(driver):
    driver.do(canon.Prompt(message="/review main.py", client_id="c1"))
    driver.respond("prompt")
    driver.run_begins("Review the file main.py with care.")
    typed, read = users(driver)
    assert typed.id == read.id
    assert (words(read), read.client_id) == ("Review the file main.py with care.", "c1")
    assert read.metadata["typed"] == "/review main.py"


def test_a_template_that_waits_in_the_queue_is_recognised(driver):
    driver.do(canon.Prompt(message="go"))
    driver.respond("prompt")
    driver.run_begins("go")
    driver.do(canon.Steer(message="/review x"))
    driver.tell({"type": "queue_update", "steering": ["Review x."], "followUp": []})
    driver.respond("prompt")
    driver.user("Review x.")
    assert [words(one) for one in users(driver)] == ["go", "/review x"]


def test_hints_on_images_do_not_make_another_message(driver):
    image = canon.Image(data="aGk=", media_type="image/png")
    driver.do(canon.Prompt(message="look", images=(image,)))
    driver.respond("prompt")
    driver.run_begins("look\n\n[Image: original 2x2]")
    assert [words(one) for one in users(driver)] == ["look"]


def test_a_command_of_an_extension_is_no_turn_that_never_ends(fresh_driver):
    driver = fresh_driver().open(commands=[{"name": "ask", "source": "extension"}])
    driver.do(canon.Prompt(message="/ask"))
    driver.respond("prompt")
    assert driver.talk.is_working
    driver.tick(0.25)
    driver.respond("get_state", {"isStreaming": False, "isCompacting": False})
    assert driver.names()[-1] == "agent.idle"
    driver.run_begins("sent by the command")
    assert [words(one) for one in users(driver)] == ["/ask", "sent by the command"]


def test_a_slow_command_of_an_extension_is_acknowledged(driver):
    token = driver.do(canon.Prompt(message="/deploy"))
    driver.tick(5.5)
    assert driver.answer(token).error is None
    driver.respond("prompt", error="it broke")
    assert len(driver.answers[token]) == 1
    assert driver.of(canon.AgentError)[-1].error == "it broke"


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


# Questions


@pytest.mark.parametrize(
    ("asked", "response", "line"),
    [
        ({"method": "select", "options": ["a", "b"]}, {"value": "b"}, {"value": "b"}),
        ({"method": "confirm"}, {"confirmed": False}, {"confirmed": False}),
        ({"method": "input"}, {"value": ""}, {"value": ""}),
        ({"method": "editor", "prefill": "x"}, {"cancelled": True}, {"cancelled": True}),
    ],
)
def test_an_answer_reaches_pi(driver, asked, response, line):
    driver.tell({"type": "extension_ui_request", "id": "q1", "title": "T", **asked})
    assert driver.talk.is_working
    token = driver.do(canon.InputResponse(request_id="q1", **response))
    assert driver.answer(token).error is None
    assert driver.lines[-1] == {"type": "extension_ui_response", "id": "q1", **line}
    assert len(driver.of(canon.InputResolved)) == 1
    assert not driver.talk.is_working
    late = driver.do(canon.InputResponse(request_id="q1", **response))
    assert isinstance(driver.answer(late).error, NotFound)


@pytest.mark.parametrize(
    ("asked", "response"),
    [
        ({"method": "select", "options": ["a"]}, {"value": "z"}),
        ({"method": "confirm"}, {"value": "yes"}),
        ({"method": "input"}, {"confirmed": True}),
    ],
)
def test_an_answer_that_does_not_fit_leaves_the_question_open(driver, asked, response):
    driver.tell({"type": "extension_ui_request", "id": "q1", "title": "T", **asked})
    token = driver.do(canon.InputResponse(request_id="q1", **response))
    assert isinstance(driver.answer(token).error, Invalid)
    assert not driver.sent("extension_ui_response")
    assert driver.talk.is_working


@pytest.mark.parametrize(("own_ms", "limit_s"), [(None, 600), (300, 0.55)])
def test_nobody_waits_for_ever_for_an_answer(driver, own_ms, limit_s):
    driver.tell(
        {"type": "extension_ui_request", "id": "q1", "method": "editor", "title": "T", "timeout": own_ms}
    )
    driver.tick(limit_s - 0.1)
    assert not driver.of(canon.InputResolved)
    driver.tick(0.2)
    assert driver.of(canon.InputResolved) == [canon.InputResolved(request_id="q1", reason="timeout")]
    assert driver.lines[-1]["cancelled"] is True


def test_a_question_answers_the_prompt_that_it_keeps_waiting(driver):
    token = driver.do(canon.Prompt(message="/ask"))
    driver.tell({"type": "extension_ui_request", "id": "q1", "method": "input", "title": "T"})
    assert driver.answer(token).error is None
    driver.tick(599)
    assert driver.talk.is_working


def test_what_extensions_show_is_kept(driver):
    for method, fields in [
        ("notify", {"message": "m", "notifyType": "error"}),
        ("setStatus", {"statusKey": "k", "statusText": "t"}),
        ("setWidget", {"widgetKey": "w", "widgetLines": ["1", "2"]}),
        ("setTitle", {"title": "tt"}),
        ("set_editor_text", {"text": "draft"}),
        ("something_new", {"x": 1}),
    ]:
        driver.tell({"type": "extension_ui_request", "id": "i", "method": method, **fields})
    driver.tell({"type": "extension_error", "extensionPath": "a.ts", "event": "tool_call", "error": "boom"})
    kept = [(event.key, event.text) for event in driver.of(canon.Status)]
    assert kept[:4] == [("k", "t"), ("widget:w", "1\n2"), ("window-title", "tt"), ("editor-text", "draft")]
    assert '"x":1' in kept[4][1]
    assert [(n.level, n.message) for n in driver.of(canon.Notify)] == [
        ("error", "m"),
        ("warning", "a.ts failed in tool_call: boom"),
    ]


# Questions to pi


@pytest.mark.parametrize(
    ("command", "request_type", "data", "expected"),
    [
        (
            canon.SetModel(provider="p", model_id="m"),
            "set_model",
            {"provider": "p", "id": "m"},
            {"model_id": "m"},
        ),
        (canon.CycleModel(), "cycle_model", None, {"model_id": "fake-1"}),
        (canon.SetThinkingLevel(level="low"), "set_thinking_level", None, {"level": "off"}),
        (canon.CycleThinkingLevel(), "cycle_thinking_level", {"level": "high"}, {"level": "high"}),
        (canon.GetModels(), "get_available_models", {"models": []}, {"models": []}),
        (canon.GetCommands(), "get_commands", {"commands": []}, {"commands": []}),
        (
            canon.GetForkPoints(),
            "get_fork_messages",
            {"messages": [{"entryId": "e", "text": "t"}]},
            {"points": [{"entry_id": "e", "text": "t"}]},
        ),
        (canon.GetStats(), "get_session_stats", {"cost": 0.5, "tokens": {"input": 3}}, {"cost_usd": 0.5}),
        (
            canon.Compact(instructions="short"),
            "compact",
            {"summary": "s", "tokensBefore": 9},
            {"tokens_before": 9},
        ),
    ],
)
def test_a_question_is_answered_in_our_words(driver, command, request_type, data, expected):
    token = driver.do(command)
    assert token not in driver.answers
    driver.respond(request_type, data)
    assert driver.answer(token).data.items() >= expected.items()


@pytest.mark.parametrize(
    ("command", "request_type", "error", "kind"),
    [
        (canon.SetModel(provider="p", model_id="x"), "set_model", "Model not found: p/x", NotFound),
        (canon.Fork(entry_id="x"), "fork", "Invalid entry ID for forking", NotFound),
        (canon.SetSessionName(name=" "), "set_session_name", "Session name cannot be empty", Invalid),
        (canon.Compact(), "compact", "Nothing to compact (session too small)", AgentFailed),
    ],
)
def test_what_pi_refuses_is_an_error_that_fits(driver, command, request_type, error, kind):
    token = driver.do(command)
    driver.respond(request_type, error=error)
    assert isinstance(driver.answer(token).error, kind)
    assert error in driver.answer(token).error.detail


def test_a_command_that_pi_never_answers_fails_in_time(driver):
    quick, slow = driver.do(canon.GetStats()), driver.do(canon.Compact())
    driver.tick(31)
    assert "did not answer `get_session_stats` within 30 s" in driver.answer(quick).error.detail
    assert slow not in driver.answers
    driver.tick(600)
    assert isinstance(driver.answer(slow).error, AgentFailed)
    driver.respond("get_session_stats", {})
    assert len(driver.answers[quick]) == 1


def test_a_conversation_is_told_in_canonical_messages(driver):
    token = driver.do(canon.GetMessages())
    messages = [
        {"role": "system", "content": "", "sections": {}},
        {"role": "user", "content": "hi", "timestamp": 5},
        {"role": "assistant", "content": [{"type": "toolCall", "id": "t1", "name": "bash", "arguments": {}}]},
        {"role": "toolResult", "toolCallId": "t1", "toolName": "bash", "content": [], "isError": True},
        {"role": "bashExecution", "command": "ls", "output": "x"},
        {"role": "compactionSummary", "summary": "before"},
    ]
    driver.respond("get_messages", {"messages": messages})
    told = msgspec.convert(driver.answer(token).data["messages"], list[canon.Message])
    assert [one.role for one in told] == ["user", "assistant", "tool", "user", "system"]
    assert told[1].parts[0].status == "error"
    assert told[3].parts[-1].data["command"] == "ls"
    assert words(told[4]) == "before"


# Another conversation


def test_new_switched_and_forked_conversations_are_told_whole(driver):
    file = driver.home / "pi" / "sessions" / "a.jsonl"
    file.write_text('{"type":"session","version":3,"id":"1"}\n')
    changes = [
        (canon.NewSession(), "new_session", "new", {}),
        (canon.SwitchSession(session_path=str(file)), "switch_session", "switch", {}),
        (canon.SwitchSession(session_path="a.jsonl"), "switch_session", "switch", {}),
        (canon.Fork(entry_id="e1"), "fork", "fork", {"text": "again"}),
    ]
    for command, request_type, cause, data in changes:
        token = driver.do(command)
        driver.respond(request_type, {"cancelled": False, **data})
        driver.respond("get_state", {"sessionFile": str(file)})
        driver.respond("get_messages", {"messages": [{"role": "user", "content": cause}]})
        changed = driver.of(canon.ConversationChanged)[-1]
        assert (changed.cause, words(changed.messages[0])) == (cause, cause)
        assert driver.answer(token).data == {"session_path": str(file), **data}


@pytest.mark.parametrize("command", [canon.NewSession(), canon.Fork(entry_id="e"), canon.Compact()])
def test_another_conversation_needs_an_idle_agent(driver, command):
    driver.run_begins("go")
    token = driver.do(command)
    assert isinstance(driver.answer(token).error, Conflict)


def test_a_prompt_during_a_change_goes_to_the_new_conversation(driver):
    driver.do(canon.NewSession())
    driver.do(canon.Prompt(message="in the new one"))
    assert not driver.sent("prompt")
    driver.respond("new_session", {"cancelled": False})
    driver.respond("get_state", {})
    driver.respond("get_messages", {"messages": []})
    assert driver.sent("prompt")[0]["message"] == "in the new one"


def test_a_change_that_an_extension_forbids_is_a_conflict(driver):
    token = driver.do(canon.NewSession())
    driver.respond("new_session", {"cancelled": True})
    assert isinstance(driver.answer(token).error, Conflict)
    assert not driver.of(canon.ConversationChanged)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x.jsonl",
        "missing.jsonl",
        "link.jsonl",
        "notes.jsonl",
        "sub/a.jsonl",
        "a\0.jsonl",
        ".a.jsonl",
    ],
)
def test_only_conversations_of_this_session_can_be_switched_to(driver, tmp_path, path):
    folder = driver.home / "pi" / "sessions"
    outside = tmp_path / "outside.jsonl"
    outside.write_text('{"type":"session"}\n')
    (folder / "link.jsonl").symlink_to(outside)
    (folder / "notes.jsonl").write_text("not a session\n")
    token = driver.do(canon.SwitchSession(session_path=path))
    assert isinstance(driver.answer(token).error, NotFound | Invalid)
    assert not driver.sent("switch_session")


# Compaction


def test_a_prompt_during_a_compaction_on_request_waits(driver):
    compact = driver.do(canon.Compact())
    driver.tell({"type": "compaction_start", "reason": "manual"})
    driver.do(canon.Prompt(message="next"))
    assert not driver.sent("prompt")
    result = {"summary": "s", "tokensBefore": 7}
    driver.tell({"type": "compaction_end", "reason": "manual", "result": result, "aborted": False})
    driver.respond("compact", result)
    assert driver.answer(compact).error is None
    assert driver.sent("prompt")[0]["message"] == "next"
    end = driver.of(canon.CompactEnd)[0]
    assert (end.success, end.summary, end.tokens_before) == (True, "s", 7)


@pytest.mark.parametrize("prefix", ["", "auto_"])
def test_compactions_have_two_names(driver, prefix):
    driver.run_begins("go")
    driver.tell({"type": f"{prefix}compaction_start", "reason": "overflow"})
    driver.tell({"type": f"{prefix}compaction_end", "result": None, "aborted": True, "willRetry": False})
    assert driver.of(canon.CompactStart)[0].reason == "overflow"
    assert driver.of(canon.CompactEnd)[0].success is False


# Bad output


def test_lines_that_are_no_json_are_told_once_and_cut_short(driver):
    for _ in range(1000):
        driver.tell(b"Warning: " + b"x" * 5000)
    (notice,) = driver.events
    assert notice.level == "warning"
    assert len(notice.message) < 400


@pytest.mark.parametrize(
    "line", [b"", b"null", b"[]", b'"x"', b"1e999", b"{}", b'{"type":5}', b"\xff\xfe", b"[" * 5000]
)
def test_strange_lines_do_no_harm(driver, line):
    driver.tell(line)
    assert not driver.talk.is_working


def test_unknown_events_are_kept_but_not_without_end(driver):
    for number in range(500):
        driver.tell({"type": "brand_new", "number": number})
    assert len(driver.of(canon.Status)) == 100
    assert '"number":0' in driver.events[0].text


def test_wrong_kinds_in_known_events_do_no_harm(driver):
    kinds = ["message_start", "message_update", "message_end", "tool_execution_start", "tool_execution_end"]
    kinds += ["queue_update", "compaction_end", "auto_retry_start", "extension_ui_request", "agent_end"]
    for kind in kinds:
        for junk in (None, 1, "x", [], {}, [1], {"role": 3}):
            driver.tell(dict.fromkeys(KEYS, junk) | {"type": kind})
    driver.close()
    assert not driver.talk.is_working


KEYS = (
    "message",
    "assistantMessageEvent",
    "toolCallId",
    "result",
    "steering",
    "followUp",
    "attempt",
    "id",
    "method",
)


# The end


def test_the_end_of_pi_closes_everything(driver):
    driver.do(canon.Prompt(message="go"))
    driver.respond("prompt")
    driver.run_begins("go")
    driver.tell({"type": "tool_execution_start", "toolCallId": "t1", "toolName": "bash", "args": {}})
    driver.tell({"type": "extension_ui_request", "id": "q1", "method": "input", "title": "T"})
    driver.begins_to_say("half a ", "sentence")
    waiting = [driver.do(canon.GetStats()), driver.do(canon.Abort()), driver.do(canon.Prompt(message="held"))]
    driver.events.clear()
    driver.close("pi was killed (signal 9)")
    assert driver.names() == [
        "stream.message_end",
        "tool.end",
        "agent.error",
        "agent.idle",
    ]
    message = driver.of(canon.MessageEnd)[0].message
    assert (words(message), message.stop_reason) == ("half a sentence", "error")
    assert driver.of(canon.ToolEnd)[0].is_error
    assert driver.of(canon.AgentError)[0].error == "pi was killed (signal 9)"
    assert not driver.of(canon.AgentError)[0].recoverable
    for token in waiting:
        assert len(driver.answers[token]) == 1
    assert isinstance(driver.answer(waiting[0]).error, AgentFailed)
    assert not driver.talk.is_working


def test_open_questions_are_gone_with_pi(driver):
    driver.tell({"type": "extension_ui_request", "id": "q1", "method": "input", "title": "T"})
    driver.close()
    assert driver.of(canon.InputResolved) == [canon.InputResolved(request_id="q1", reason="gone")]


def test_an_idle_pi_ends_without_a_word(driver):
    driver.close()
    assert not driver.events


def test_nothing_happens_after_the_end(driver):
    driver.close()
    driver.close()
    token = driver.do(canon.Prompt(message="hello?"))
    assert isinstance(driver.answer(token).error, AgentFailed)
    driver.tell({"type": "agent_start"})
    driver.tick(1000)
    assert not driver.events
    assert all(not step.lines for step in driver.steps[-4:])


def test_message_ids_differ_between_processes(fresh_driver, tmp_path):
    from oqto_runner.harness.pi.talk import Talk

    assert Talk().mint() != Talk().mint()
