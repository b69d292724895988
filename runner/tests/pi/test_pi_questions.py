"""Dialogs of extensions, and questions to pi."""

from __future__ import annotations

import msgspec
import pytest

from oqto_platform import canon
from oqto_platform.errors import AgentFailed, Invalid, NotFound

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
    assert driver.words(told[4]) == "before"
