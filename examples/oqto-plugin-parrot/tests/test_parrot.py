"""The bird repeats, survives nonsense, and ends as an agent should."""

from __future__ import annotations

import pytest
from oqto_plugin_parrot.harness import Talk

from oqto_platform.canon import GetState, Prompt
from oqto_platform.testing import PluginContract


class TestContract(PluginContract):
    plugin = "parrot"


@pytest.fixture(scope="module")
def oqto_plugins():
    return ("parrot",)


def test_it_repeats_what_it_hears(oqto):
    with oqto.session(harness="parrot") as session:
        turn = session.prompt("Polly wants a cracker")
        assert turn.text == "Polly wants a cracker "
        assert turn.kinds[-1] == "agent.idle"
        assert session.prompt("again").text == "again "


def kinds(step):
    return [event.__struct_config__.tag for event in step.events]


@pytest.mark.parametrize(
    "line", [b"", b"null", b"[]", b'{"say": 3}', b"\xff", b'{"say": "done"}', b'{"say": "word"}']
)
def test_nonsense_of_the_program_is_passed_over(line):
    assert Talk().receive(line, 0.0).events == ()


def test_a_death_in_the_middle_closes_what_was_open():
    talk = Talk()
    talk.command(1, Prompt(message="hello"), 0.0)
    assert kinds(talk.close(0.0, "gone")) == ["agent.error", "stream.message_end", "agent.idle"]
    assert talk.close(0.0, "gone").events == ()


def test_what_it_cannot_do_it_refuses_once():
    talk = Talk()
    (answer,) = talk.command(1, GetState(), 0.0).answers
    assert answer.error is not None
    talk.command(2, Prompt(message="hello"), 0.0)
    (answer,) = talk.command(3, Prompt(message="and another"), 0.0).answers
    assert answer.error is not None
