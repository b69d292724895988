"""`kill -9` of every part, one at a time: nothing lost, nothing doubled, the reason told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from waiting import until

from oqto_platform.peers import listener_pid
from oqto_platform.testing.mux import mux_client

pytestmark = pytest.mark.real


def runner_pid(stack) -> int:
    return listener_pid(str(stack.state_dir / "runner" / "oqto-runner.sock"))


def view(stack, session) -> dict:
    return stack.client.get(f"/api/sessions/{session['id']}").json()


async def test_the_core_dies_and_the_agent_works_on(echo_stack):
    stack = echo_stack
    session = stack.start_session(harness="echo")
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        await mux.command(session["id"], "prompt", message="stream 60 20", client_id="1")
        await mux.until(lambda event: event["event"] == "stream.text_delta")
        seen = list(mux.events)
        runner = runner_pid(stack)
        stack.kill()
    assert runner_pid(stack) == runner
    stack.start()
    async with mux_client(stack.url, stack.cookie()) as mux:
        reply = await mux.command(session["id"], "subscribe", after=seen[-1]["seq"])
        assert reply["data"]["mode"] == "exact"
        await mux.until(lambda event: event["event"] == "agent.idle")
        events = seen + mux.events
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        final = next(
            e for e in events if e["event"] == "stream.message_end" and e["message"]["role"] == "assistant"
        )
        assert (
            "".join(e["delta"] for e in events if e["event"] == "stream.text_delta")
            == final["message"]["parts"][0]["text"]
        )
        since = len(mux.events)
        await mux.command(session["id"], "prompt", message="and again", client_id="2")
        await mux.until(lambda event: event["event"] == "agent.idle", since=since)
    assert view(stack, session)["state"] == "running"


async def test_the_runner_dies_the_session_says_so_and_resumes(echo_stack):
    stack = echo_stack
    session = stack.start_session(harness="echo")
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        await mux.command(session["id"], "prompt", message="stream 500 50", client_id="1")
        await mux.until(lambda event: event["event"] == "stream.text_delta")
        os.kill(runner_pid(stack), signal.SIGKILL)
        closed = await mux.until(lambda event: event["event"] == "session.closed")
        assert closed["reason"] == "interrupted"
        names = mux.names()
        assert names.count("session.closed") == 1
    until(lambda: view(stack, session)["state"] == "settled")
    assert view(stack, session)["stop_reason"] == "interrupted"
    assert view(stack, session)["error"]
    resumed = stack.client.post(f"/api/sessions/{session['id']}/resume").json()
    assert resumed["state"] == "running"
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        await mux.command(session["id"], "prompt", message="back again", client_id="2")
        await mux.until(lambda event: event["event"] == "stream.text_delta" and "back" in event["delta"])
        users = [
            e for e in mux.events if e["event"] == "stream.message_end" and e["message"]["role"] == "user"
        ]
        assert [user["message"]["client_id"] for user in users] == ["1", "2"]


async def test_the_agent_dies_and_the_cause_is_told(echo_stack):
    stack = echo_stack
    session = stack.start_session(harness="echo")
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        await mux.command(
            session["id"], "prompt", message="stderr the disk of the agent is upside down", client_id="1"
        )
        await mux.until(lambda event: event["event"] == "agent.idle")
        await mux.command(session["id"], "prompt", message="kill", client_id="2")
        closed = await mux.until(lambda event: event["event"] == "session.closed")
        assert mux.names()[-1] == "session.closed"
        assert "upside down" in closed["stderr_tail"]
        error = next(event for event in mux.events if event["event"] == "agent.error")
        assert error.get("recoverable", True) is False
    ended = until(lambda: (found := view(stack, session))["state"] == "settled" and found)
    assert ended["stop_reason"] in ("failed", "exited")
    assert "upside down" in ended["error"]


async def test_a_failed_start_leaves_no_process_and_says_why(echo_stack):
    stack = echo_stack
    before = set(Path("/proc").glob("[0-9]*"))
    response = stack.client.post(
        "/api/sessions", json={"workspace": str(stack.workspace), "harness": "nonesuch"}
    )
    assert response.status_code == 422
    assert "nonesuch" in response.json()["detail"]
    failed = stack.client.get("/api/sessions").json()[0]
    assert failed["state"] == "settled"
    assert "nonesuch" in failed["error"]
    assert before


async def test_stop_resume_delete(echo_stack):
    stack = echo_stack
    session = stack.start_session(harness="echo")
    path = f"/api/sessions/{session['id']}"
    assert stack.client.post(f"{path}/stop").json()["state"] == "settled"
    assert stack.client.post(f"{path}/stop").json()["state"] == "settled"
    assert stack.client.post(f"{path}/resume").json()["state"] == "running"
    assert stack.client.post(f"{path}/resume").status_code == 409
    assert stack.client.delete(path).status_code == 204
    assert stack.client.get(path).status_code == 404
    assert not (stack.state_dir / "runner" / "sessions" / session["id"]).exists()


async def test_the_limit_of_sessions_is_told(tmp_path, needs_bubblewrap):
    from oqto_platform.testing.stack import Stack

    with Stack(tmp_path, plugins=("sandbox",), **{"sessions.max_concurrent_sessions": "1"}) as stack:
        stack.set_up()
        stack.start_session(harness="echo")
        response = stack.client.post(
            "/api/sessions", json={"workspace": str(stack.workspace), "harness": "echo"}
        )
        assert response.status_code == 429
        assert "sessions.max_concurrent_sessions" in response.json()["detail"]
