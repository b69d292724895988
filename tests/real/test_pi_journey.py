"""The main journey with a real pi in a real sandbox, through the LLM proxy with a virtual key."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from waiting import async_until

from oqto_platform.peers import listener_pid
from oqto_platform.testing.mux import mux_client

pytestmark = pytest.mark.real


async def ask(mux, session, text: str, **fields):
    since = len(mux.events)
    reply = await mux.command(session["id"], "prompt", message=text, client_id=f"c{since}", **fields)
    assert reply["success"], reply
    await mux.until(lambda event: event["event"] == "agent.idle", since=since)
    return mux.events[since:]


async def test_the_demo_model_answers_about_the_real_folder(pi_stack):
    stack = pi_stack()
    (stack.workspace / "README.md").write_text("# Lighthouse\nKeeps ships off the rocks.\n")
    (stack.workspace / "lamp.py").write_text("print('light')\n")
    session = stack.start_session(provider="demo", model="demo")
    assert session["confined_by"] == "bubblewrap"
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        events = await ask(mux, session, "What is in this folder?")
        names = [event["event"] for event in events]
        assert names.count("agent.idle") == 1
        assert "stream.thinking_delta" in names
        tools = [event for event in events if event["event"] == "tool.end"]
        assert tools
        assert not any(tool.get("is_error") for tool in tools)
        assert "lamp.py" in mux.text()
    assert stack.client.get(f"/api/sessions/{session['id']}").json()["spent_usd"] == 0


async def test_tools_run_confined_and_the_bill_is_exact(pi_stack, provider):
    stack = pi_stack()
    secret = stack.home / "secret.txt"
    secret.write_text("not for agents")
    outside = stack.home / "outside.txt"
    session = stack.start_session(provider="scripted", model="fake-1")
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        command = f"echo hi > made.txt; echo no > {outside}; cat /proc/1/cmdline | tr '\\\\0' ' '; env"
        events = await ask(
            mux,
            session,
            f'[[usage 1000 500]] [[tool bash {{"command": "{command}"}}]] [[usage 2000 100]] [[say Done.]]',
        )
        assert (stack.workspace / "made.txt").read_text() == "hi\n"
        assert not outside.exists()
        output = str([event for event in events if event["event"] == "tool.end"])
        assert "sk-real-canary" not in output
        assert "eavs-" in output  # the agent holds a virtual key, and only that
    stack.client.post(f"/api/sessions/{session['id']}/stop")
    spent = stack.client.get(f"/api/sessions/{session['id']}").json()["spent_usd"]
    assert spent == pytest.approx((3000 * 1.0 + 600 * 2.0) / 1e6, abs=1e-12)
    assert all(request.key == "sk-real-canary-0123456789" for request in provider.requests)


async def test_sessions_share_compiled_modules_that_no_agent_can_change(pi_stack):
    stack = pi_stack()
    stack.client.post(f"/api/sessions/{stack.start_session()['id']}/stop")
    compiled = await async_until(lambda: next(stack.root.rglob(f"data/pi/{'?' * 32}/v*"), None))
    before = {path: path.read_bytes() for path in compiled.iterdir()}
    session = stack.start_session(provider="scripted", model="fake-1")
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        attack = "cd $NODE_COMPILE_CACHE/v* && ls | wc -l; for f in * new; do echo evil > $f; done; rm -f *"
        events = await ask(mux, session, f'[[tool bash {{"command": "{attack}"}}]] [[say Done.]]')
    assert "Read-only file system" in str([event for event in events if event["event"] == "tool.end"])
    assert before
    assert {path: path.read_bytes() for path in compiled.iterdir()} == before


async def test_a_reload_in_the_middle_shows_the_same(pi_stack):
    stack = pi_stack()
    session = stack.start_session(provider="scripted", model="fake-1")
    async with mux_client(stack.url, stack.cookie()) as first:
        await first.command(session["id"], "subscribe", after=0)
        await first.command(session["id"], "prompt", message="[[slow 60 0.03]]", client_id="1")
        await first.until(lambda event: event["event"] == "stream.text_delta")
        async with mux_client(stack.url, stack.cookie()) as second:
            await second.command(session["id"], "subscribe", after=0)
            await asyncio.gather(
                *(m.until(lambda event: event["event"] == "agent.idle") for m in (first, second))
            )
            ends = [
                next(
                    e
                    for e in m.events
                    if e["event"] == "stream.message_end" and e["message"]["role"] == "assistant"
                )
                for m in (first, second)
            ]
            assert ends[0] == ends[1]
            assert first.text() == second.text() == ends[0]["message"]["parts"][0]["text"]


async def test_abort_ends_the_turn_once_and_the_session_lives(pi_stack):
    stack = pi_stack()
    session = stack.start_session(provider="scripted", model="fake-1")
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        await mux.command(session["id"], "prompt", message="[[slow 500 0.05]]", client_id="1")
        await mux.until(lambda event: event["event"] == "stream.text_delta")
        assert (await mux.command(session["id"], "abort"))["success"]
        await mux.until(lambda event: event["event"] == "agent.idle")
        assert mux.names().count("agent.idle") == 1
        events = await ask(mux, session, "[[say alive]]")
        assert [event["event"] for event in events].count("agent.idle") == 1


@pytest.mark.parametrize(
    ("directive", "said"),
    [
        ("[[error 401 99]] [[say x]]", "401"),
        ("[[error 429 99]] [[say x]]", "429"),
        ("[[drop]]", ""),
        ("[[reset]]", ""),
    ],
)
async def test_a_failing_provider_ends_the_turn_once_in_words(pi_stack, directive, said):
    stack = pi_stack()
    session = stack.start_session(provider="scripted", model="fake-1")
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        since = len(mux.events)
        await mux.command(session["id"], "prompt", message=directive, client_id="1")
        await mux.until(lambda event: event["event"] == "agent.idle", since=since, timeout_s=60)
        assert mux.names().count("agent.idle") == 1
        error = next(event for event in mux.events if event["event"] == "agent.error")
        assert error.get("recoverable", True)
        assert said in error["error"]
        await ask(mux, session, "[[say alive]]")
        assert "alive" in mux.text()


async def test_the_proxy_dies_and_comes_back(pi_stack):
    stack = pi_stack()
    session = stack.start_session(provider="scripted", model="fake-1")
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        await ask(mux, session, "[[usage 1000 1000]] [[say one]]")
        control = stack.state_dir / "eavs" / "control.sock"
        os.kill(listener_pid(str(control)), signal.SIGKILL)
        since = len(mux.events)
        await mux.command(session["id"], "prompt", message="[[usage 1000 1000]] [[say two]]", client_id="z")
        await mux.until(lambda event: event["event"] == "agent.idle", since=since, timeout_s=60)
        await ask(mux, session, "[[usage 1000 1000]] [[say three]]")
        assert "three" in mux.text()
    stack.client.post(f"/api/sessions/{session['id']}/stop")
    spent = stack.client.get(f"/api/sessions/{session['id']}").json()["spent_usd"]
    assert spent >= 2 * 0.003  # what was billed before the kill is not forgotten


async def test_money_that_is_used_up_ends_the_turn_in_words(pi_stack):
    stack = pi_stack(default_session_budget_usd=0.01)
    session = stack.start_session(provider="scripted", model="fake-1")
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        await ask(mux, session, "[[usage 9000 100]] [[say one]]")
        events = await ask(mux, session, "[[usage 9000 100]] [[say two]]")
        errors = [event for event in events if event["event"] == "agent.error"]
        assert errors
        assert "money set aside" in errors[0]["error"]


async def test_a_missing_pi_says_what_installs_it(tmp_path, needs_bubblewrap):
    from oqto_platform.testing.stack import Stack

    env = {"PATH": "/usr/bin:/bin", "OQTO_PI": str(tmp_path / "no-pi-here")}
    with Stack(tmp_path, env=env) as stack:
        stack.set_up()
        response = stack.client.post("/api/sessions", json={"workspace": str(stack.workspace)})
        assert response.status_code == 502
        assert "npm" in response.json()["detail"]
        assert stack.client.get("/api/sessions").json()[0]["state"] == "settled"


async def test_the_virtual_key_is_in_no_file_and_no_command_line(pi_stack):
    stack = pi_stack()
    session = stack.start_session(provider="scripted", model="fake-1")
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        await ask(
            mux, session, '[[tool bash {"command": "env > /dev/null; echo $EAVS_API_KEY"}]] [[say done]]'
        )
        output = str(mux.events)
        key = output[output.index("eavs-") :].split("\\n", maxsplit=1)[0].split("'", maxsplit=1)[0]
        assert len(key) > 20
        for path in stack.root.rglob("*"):
            if (
                path.is_file()
                and "events-" not in path.name
                and path.name != "history.jsonl"
                and path.suffix != ".jsonl"
            ):
                assert key.encode() not in path.read_bytes(), path
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                assert key.encode() not in line.read_bytes(), line
            except OSError:
                continue
