"""The real pi: conversations, restarts, and what it may not touch."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from oqto_platform import canon
from oqto_platform.errors import OqtoError

pytestmark = pytest.mark.real


async def test_going_back_to_a_message_forks_the_conversation(start):
    async with start() as pi:
        for number in ("one", "two", "three"):
            await pi.turn(f"{number} [[say {number}]]")
        points = (await pi.do(canon.GetForkPoints()))["points"]
        answer = await pi.do(canon.Fork(entry_id=points[1]["entry_id"]))
        assert answer["text"] == "two [[say two]]"
        changed = pi.of(canon.ConversationChanged)[-1]
        assert [pi.text_of(message) for message in changed.messages] == ["one [[say one]]", "one"]
        await pi.turn("instead [[say other]]")
        told = await pi.history()
        assert told[-2:] == ["instead [[say other]]", "other"]
        with pytest.raises(OqtoError, match="Invalid entry"):
            await pi.do(canon.Fork(entry_id="nope"))


async def test_conversations_can_be_left_and_come_back_to(start):
    async with start() as pi:
        await pi.turn("first [[say one]]")
        first = (await pi.do(canon.GetState()))["session_path"]
        await pi.do(canon.NewSession())
        assert pi.of(canon.ConversationChanged)[-1].messages == ()
        await pi.turn("second [[say two]]")
        known = (await pi.do(canon.GetConversations()))["conversations"]
        assert [(one["title"], one["is_current"]) for one in known] == [
            ("second [[say two]]", True),
            ("first [[say one]]", False),
        ]
        assert known[1]["session_path"] == first
        await pi.do(canon.SwitchSession(session_path=first))
        assert pi.text_of(pi.of(canon.ConversationChanged)[-1].messages[-1]) == "one"


async def test_a_killed_pi_goes_on_where_it_was(start, home):
    async with start() as pi:
        await pi.turn("remember [[say noted]]")
        await pi.do(canon.Prompt(message="long [[slow 200 0.05]]"))
        await pi.until(lambda: len(pi.of(canon.TextDelta)) > 3)
        os.killpg(pi.process.pid, signal.SIGKILL)
        await pi.until(lambda: pi.of(canon.AgentError))
        half = pi.of(canon.MessageEnd)[-1].message
        assert half.stop_reason == "error"
        assert pi.text_of(half).startswith("w0 ")
        assert isinstance(pi.events[-1], canon.AgentIdle)
    (file,) = (home / "pi" / "sessions").glob("*.jsonl")
    with file.open("a") as torn:
        torn.write('{"type":"message","id":"0000')
    async with start(resume=True) as pi:
        told = await pi.history()
        assert told[:2] == ["remember [[say noted]]", "noted"]
        await pi.turn("still there? [[say yes]]")
    async with start(resume=True) as pi:
        told = await pi.history()
        assert told[-2:] == ["still there? [[say yes]]", "yes"]
        assert {end.message.id for end in pi.of(canon.MessageEnd)}.isdisjoint({half.id})


async def test_a_resumed_conversation_keeps_the_model_that_was_chosen(start):
    async with start() as pi:
        await pi.do(canon.SetModel(provider="proxy", model_id="fake-2"))
        await pi.turn("[[say hi]]")
    async with start(resume=True) as pi:
        await pi.until(lambda: pi.talk.is_ready)
        assert pi.of(canon.ModelChanged)[-1].model_id == "fake-2"


async def test_a_fork_outlives_a_restart(start):
    async with start() as pi:
        for number in ("one", "two"):
            await pi.turn(f"{number} [[say {number}]]")
        points = (await pi.do(canon.GetForkPoints()))["points"]
        await pi.do(canon.Fork(entry_id=points[1]["entry_id"]))
    async with start(resume=True) as pi:
        told = await pi.history()
        assert told == ["one [[say one]]", "one"]


async def test_a_new_conversation_outlives_a_restart(start):
    async with start() as pi:
        await pi.turn("old [[say old]]")
        await pi.do(canon.NewSession())
    async with start(resume=True) as pi:
        assert (await pi.do(canon.GetMessages()))["messages"] == []
        await pi.turn("new [[say new]]")
        assert pi.said() == ["new"]


async def test_the_key_is_in_no_file_and_the_persons_own_pi_stays_untouched(
    start, home, monkeypatch, tmp_path
):
    person = tmp_path / "person"
    (person / ".pi" / "agent").mkdir(parents=True)
    (person / ".pi" / "agent" / "settings.json").write_text('{"defaultModel":"mine"}')
    monkeypatch.setattr("pwd.getpwuid", lambda uid: Person(str(person)))
    async with start() as pi:
        await pi.turn('[[tool bash {"command":"true"}]] [[say hi]]')
        await pi.do(canon.NewSession())
    files = [file for file in home.rglob("*") if file.is_file()]
    assert any(file.suffix == ".jsonl" for file in files)
    assert [file for file in files if b"vk-secret-1234" in file.read_bytes()] == []
    assert [str(file.relative_to(person)) for file in person.rglob("*") if file.is_file()] == [
        ".pi/agent/settings.json"
    ]


class Person:
    """The entry of a person in the system's list."""

    pw_name, pw_shell = "person", "/bin/bash"

    def __init__(self, home):
        self.pw_dir = home


@pytest.mark.usefixtures("recent_pi")
async def test_settings_of_a_cloned_project_are_not_trusted(start, session):
    project = Path(session.workspace, ".pi")
    (project / "extensions").mkdir(parents=True)
    (project / "settings.json").write_text('{"defaultModel":"fake-2","defaultProvider":"proxy"}')
    (project / "extensions" / "evil.ts").write_text(
        'import {writeFileSync} from "node:fs"; export default () => { writeFileSync("evil.txt", "ran"); };'
    )
    async with start() as pi:
        await pi.turn("[[say hi]]")
        assert pi.of(canon.ModelChanged)[-1].model_id == "fake-1"
        assert not Path(session.workspace, "evil.txt").exists()
