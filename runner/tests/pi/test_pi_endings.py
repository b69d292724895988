"""Other conversations, compaction, bad output, and the end of pi."""

from __future__ import annotations

import pytest

from oqto_platform import canon
from oqto_platform.errors import AgentFailed, Conflict, Invalid, NotFound

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
        assert (changed.cause, driver.words(changed.messages[0])) == (cause, cause)
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
    assert (driver.words(message), message.stop_reason) == ("half a sentence", "error")
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
