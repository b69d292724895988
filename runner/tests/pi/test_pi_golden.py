"""Recorded sessions with their commands: the exact events, as the log would hold them.

`OQTO_WRITE_GOLDEN=1 pytest …` writes the files anew; read the difference before you keep it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from oqto_platform import canon

FIXTURES = Path(__file__).with_name("fixtures")
SCENARIOS = ("s01_basic", "s02_tool", "s03_abort", "s04_steer_followup", "s08_retry", "s09_extension_ui")


def brief(event) -> str:
    """One line: the event's name and what matters of it."""
    if isinstance(event, canon.MessageEnd):
        return " ".join(["stream.message_end", *of_message(event.message)])
    fields = msgspec.to_builtins(event)
    name = fields.pop("event")
    return " ".join([name, *(f"{key}={short(value)}" for key, value in fields.items())])


def of_message(message):
    yield message.id
    yield message.role
    for name in ("stop_reason", "client_id", "model"):
        if value := getattr(message, name):
            yield f"{name}={value}"
    for part in message.parts:
        fields = msgspec.to_builtins(part)
        kind = fields.pop("type")
        fields.pop("id")
        yield f"[{kind} " + " ".join(f"{key}={short(value)}" for key, value in fields.items()) + "]"
    if message.usage is not None:
        yield f"usage={message.usage.input_tokens}/{message.usage.output_tokens}"
    if "error" in message.metadata:
        yield f"error={short(message.metadata['error'])}"


def short(value) -> str:
    words = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    words = words.replace("\n", "\\n")
    return words if len(words) <= 160 else words[:157] + "…"


@pytest.mark.parametrize("version", ["0.74.2", "0.87.1"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_events_of_a_recorded_session(replayed, version, scenario):
    driver = replayed(FIXTURES / version / f"{scenario}.jsonl", with_commands=True)
    happened = [brief(event) for event in driver.events]
    file = FIXTURES / "golden" / version / f"{scenario}.txt"
    if os.environ.get("OQTO_WRITE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(happened) + "\n")
    assert happened == file.read_text().splitlines()


@pytest.mark.parametrize("version", ["0.74.2", "0.87.1"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_command_of_a_recorded_session_is_answered_once(replayed, version, scenario):
    driver = replayed(FIXTURES / version / f"{scenario}.jsonl", with_commands=True)
    driver.close()
    assert sorted(driver.answers) == list(range(1, driver.token + 1))
    assert all(len(answers) == 1 for answers in driver.answers.values())


@pytest.mark.parametrize("version", ["0.74.2", "0.87.1"])
def test_messages_of_persons_are_logged_when_sent_and_never_twice(replayed, version):
    driver = replayed(FIXTURES / version / "s04_steer_followup.jsonl", with_commands=True)
    users = [end.message.parts[0].text for end in driver.of(canon.MessageEnd) if end.message.role == "user"]
    assert len(users) == len(set(users)) == 7
    for step in driver.steps:
        for line in step.lines:
            sent = msgspec.json.decode(line)
            if sent["type"] == "prompt":
                logged = [end for end in step.events if isinstance(end, canon.MessageEnd)]
                assert logged[0].message.parts[0].text == sent["message"]
