"""Whatever reaches the runner of pi's stream: nothing raises, everything is answered, all ends idle."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oqto_platform import canon

FIXTURES = Path(__file__).with_name("fixtures")
NAMES = (
    "s02_tool",
    "s03_abort",
    "s04_steer_followup",
    "s08_retry",
    "s09_extension_ui",
    "s06_models_thinking",
)
LINES = {
    f"{version}/{name}": [
        json.dumps(record["data"]).encode()
        for record in map(json.loads, (FIXTURES / version / f"{name}.jsonl").read_text().splitlines())
        if record["dir"] == "out"
    ]
    for version in ("0.74.2", "0.87.1")
    for name in NAMES
}
COMMANDS = [
    canon.Prompt(message="hi"),
    canon.Prompt(message="/ask"),
    canon.Steer(message="steer"),
    canon.FollowUp(message="then"),
    canon.Abort(),
    canon.AbortRetry(),
    canon.GetState(),
    canon.Compact(),
    canon.NewSession(),
    canon.Fork(entry_id="e"),
    canon.CycleModel(),
    canon.InputResponse(request_id="nope", value="x"),
]
damage = st.lists(
    st.tuples(
        st.sampled_from(["drop", "cut", "double", "garble", "swap", "command", "wait"]), st.integers(0, 10**6)
    ),
    max_size=25,
)


def damaged(lines, faults):
    """The lines with faults at places, and what else happens between them."""
    lines = list(lines)
    for kind, number in faults:
        at = number % max(1, len(lines))
        line = lines[at] if lines else b""
        if kind == "drop":
            del lines[at : at + 1]
        elif kind == "cut" and isinstance(line, bytes):
            lines[at : at + 1] = [line[: number % (len(line) + 1)]]
        elif kind == "double":
            lines[at:at] = [line]
        elif kind == "garble" and isinstance(line, bytes) and line:
            spoilt = bytearray(line)
            for _ in range(5):
                spoilt[random.Random(number).randrange(len(spoilt))] = number % 256
            lines[at] = bytes(spoilt)
        elif kind == "swap" and at + 1 < len(lines):
            lines[at], lines[at + 1] = lines[at + 1], lines[at]
        elif kind == "command":
            lines[at:at] = [COMMANDS[number % len(COMMANDS)]]
        elif kind == "wait":
            lines[at:at] = [float(number % 50)]
    return lines


def play(driver, lines):
    for line in lines:
        if isinstance(line, bytes):
            driver.take(driver.talk.receive(line, driver.now))
        elif isinstance(line, float):
            driver.tick(line)
        else:
            driver.do(line)


@pytest.mark.parametrize("name", LINES)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(faults=damage)
def test_a_damaged_stream_does_no_harm(fresh_driver, name, faults):
    driver = fresh_driver().open()
    play(driver, damaged(LINES[name], faults))
    driver.close()
    assert not driver.talk.is_working
    check_balance(driver)
    check_answers(driver)
    for event in driver.events:
        canon.encode(event)


def check_balance(driver):
    starts = [event.message_id for event in driver.of(canon.MessageStart)]
    ends = [end.message.id for end in driver.of(canon.MessageEnd) if end.message.role == "assistant"]
    assert starts == ends
    assert len(driver.of(canon.ToolStart)) == len(driver.of(canon.ToolEnd))
    asked = [event.request.request_id for event in driver.of(canon.InputNeeded)]
    assert {event.request_id for event in driver.of(canon.InputResolved)} == set(asked)
    is_open = False
    for event in driver.events:
        if isinstance(event, canon.AgentIdle):
            assert is_open, "idle twice"
            is_open = False
        elif isinstance(event, canon.AgentWorking):
            is_open = True
    assert not is_open, "never idle"


def check_answers(driver):
    assert sorted(driver.answers) == list(range(1, driver.token + 1))
    assert all(len(answers) == 1 for answers in driver.answers.values())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    commands=st.lists(st.sampled_from(COMMANDS), max_size=12), waits=st.lists(st.floats(0, 700), max_size=12)
)
def test_a_silent_pi_leaves_no_command_unanswered(fresh_driver, commands, waits):
    driver = fresh_driver().open()
    for command, wait in zip(commands, [*waits, *[0.0] * len(commands)], strict=False):
        driver.do(command)
        driver.tick(wait)
    for _ in range(400):
        driver.tick(5)
    check_answers(driver)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(
                            ["type", "message", "role", "content", "id", "assistantMessageEvent"]
                        ),
                        inner,
                    )
                ),
                max_leaves=8,
            ).map(lambda value: json.dumps(value).encode()),
        ),
        max_size=30,
    )
)
def test_anything_on_stdout_does_no_harm(fresh_driver, lines):
    driver = fresh_driver().open()
    play(driver, lines)
    driver.close()
    assert not driver.talk.is_working
