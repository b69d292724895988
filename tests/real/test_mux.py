"""`/api/ws/mux` of a real server: one reply each, order, overtaking, slow clients, and the good-bye."""

from __future__ import annotations

import asyncio
import json

import pytest
import websockets

from oqto_platform.testing.mux import mux_client

pytestmark = pytest.mark.real


def is_idle(event) -> bool:
    return event["event"] == "agent.idle"


async def test_bad_frames_get_one_answer_each_and_the_connection_lives(echo_stack):
    session = echo_stack.start_session(harness="echo")
    async with mux_client(echo_stack.url, echo_stack.cookie()) as mux:
        for text in (
            "{",
            "[]",
            '{"channel":"files","id":"1"}',
            '{"channel":"agent","cmd":"prompt","id":"2"}',
        ):
            await mux._socket.send(text)
        reply = await mux.command(session["id"], "fly", speed=3)
        assert reply["success"] is False
        assert reply["error"]["code"] == "invalid"
        assert "fly" in reply["error"]["detail"]
        reply = await mux.command(session["id"], "prompt", message=3)
        assert "message" in reply["error"]["detail"]
        reply = await mux.command("ses_nobody", "prompt", message="x")
        assert reply["error"]["code"] == "not-found"
        assert (await mux.command(session["id"], "get_state"))["success"]
        errors = [frame for frame in mux.system if frame["type"] == "error"]
        assert [frame["id"] for frame in errors] == [None, None, "1", "2"]
        assert all(frame["error"]["detail"] for frame in errors)


async def test_prompts_keep_their_order_and_a_repeated_one_has_no_second_effect(echo_stack):
    session = echo_stack.start_session(harness="echo")
    async with mux_client(echo_stack.url, echo_stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        sent = [mux.command(session["id"], "prompt", message=f"say {n}", client_id=f"c{n}") for n in range(8)]
        again = [mux.command(session["id"], "prompt", message="say 0", client_id="c0") for _ in range(3)]
        replies = await asyncio.gather(*sent, *again)
        assert all(reply["success"] for reply in replies)
        await mux.command(session["id"], "prompt", message="last", client_id="last")
        await mux.until(lambda event: event["event"] == "stream.text_delta" and "last" in event["delta"])
        users = [
            event["message"]["client_id"]
            for event in mux.events
            if event["event"] == "stream.message_end" and event["message"]["role"] == "user"
        ]
        assert users == [*(f"c{n}" for n in range(8)), "last"]


async def test_abort_overtakes_what_waits(echo_stack):
    session = echo_stack.start_session(harness="echo")
    async with mux_client(echo_stack.url, echo_stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        await mux.command(session["id"], "prompt", message="stream 2000 20", client_id="1")
        await mux.until(lambda event: event["event"] == "stream.text_delta")
        waiting = [
            asyncio.create_task(mux.command(session["id"], "follow_up", message=f"{n}")) for n in range(20)
        ]
        assert (await mux.command(session["id"], "abort"))["success"]
        await mux.until(is_idle)
        await asyncio.gather(*waiting)


async def test_a_stalled_client_stalls_only_itself_and_misses_nothing(echo_stack):
    session = echo_stack.start_session(harness="echo")
    address = f"ws{echo_stack.url.removeprefix('http')}/api/ws/mux"
    headers = {"Cookie": echo_stack.cookie()}
    async with (
        websockets.connect(
            address, additional_headers=headers, max_queue=1, max_size=None, proxy=None
        ) as stalled,
        mux_client(echo_stack.url, echo_stack.cookie()) as keen,
    ):
        frame = {"channel": "agent", "id": "s", "session_id": session["id"], "cmd": "subscribe", "after": 0}
        await stalled.send(json.dumps(frame))
        stalled.transport.pause_reading()
        await keen.command(session["id"], "subscribe", after=0)
        await keen.command(session["id"], "prompt", message="flood 30000", client_id="1")
        await keen.until(is_idle, timeout_s=60)
        stalled.transport.resume_reading()
        seen = []
        while not seen or not is_idle(seen[-1]):
            event = json.loads(await asyncio.wait_for(stalled.recv(), 30))
            if event.get("seq"):
                seen.append(event)
        assert [event["seq"] for event in seen] == [event["seq"] for event in keen.events]


def told(session_id, **wanted):
    """Whether a frame tells that the session is as wanted."""

    def matches(frame):
        views = [view for view in frame.get("sessions", ()) if view["id"] == session_id]
        return any(all(view[name] == value for name, value in wanted.items()) for view in views)

    return matches


async def test_every_browser_hears_of_the_sessions_without_asking(echo_stack):
    first = echo_stack.start_session(harness="echo")["id"]
    url, cookie, api = echo_stack.url, echo_stack.cookie(), echo_stack.client
    async with mux_client(url, cookie) as mux, mux_client(url, cookie) as other:
        everything = await other.until_told(lambda frame: frame["type"] == "sessions")
        assert everything["all"]
        assert [view["id"] for view in everything["sessions"]] == [first]
        await mux.until_told(lambda frame: frame["type"] == "sessions")
        second = (await asyncio.to_thread(echo_stack.start_session, harness="echo"))["id"]
        await other.until_told(told(second, state="running", agent_state="idle"))
        await mux.command(second, "prompt", message="ask")
        await other.until_told(told(second, agent_state="waiting"))
        (
            await asyncio.to_thread(api.patch, f"/api/sessions/{first}", json={"title": "Renamed"})
        ).raise_for_status()
        await other.until_told(told(first, title="Renamed"))
        (await asyncio.to_thread(api.post, f"/api/sessions/{second}/stop")).raise_for_status()
        await other.until_told(told(second, state="settled"))
        (await asyncio.to_thread(api.delete, f"/api/sessions/{second}")).raise_for_status()
        await other.until_told(lambda frame: second in frame.get("gone", ()))
        assert sum(bool(frame.get("all")) for frame in other.system) == 1


async def test_signing_out_says_good_bye(echo_stack):
    async with mux_client(echo_stack.url, echo_stack.cookie()) as mux:
        echo_stack.client.post("/api/auth/logout-everywhere").raise_for_status()
        for _ in range(200):
            if any(frame["type"] == "bye" for frame in mux.system):
                break
            await asyncio.sleep(0.05)
        assert mux.system[-1]["type"] == "bye"
        assert mux.system[-1]["code"] == "signed_out"


async def test_the_end_of_the_server_is_announced(echo_stack):
    async with mux_client(echo_stack.url, echo_stack.cookie()) as mux:
        echo_stack.process.terminate()
        for _ in range(200):
            if any(frame["type"] == "bye" for frame in mux.system):
                break
            await asyncio.sleep(0.05)
        assert mux.system[-1]["type"] == "bye"
        assert mux.system[-1]["code"] == "restart"


async def test_a_stranger_gets_no_connection(echo_stack):
    address = f"ws{echo_stack.url.removeprefix('http')}/api/ws/mux"
    for headers in (
        {},
        {"Cookie": "oqto=nonsense"},
        {"Cookie": echo_stack.cookie(), "Origin": "https://evil.example"},
    ):
        with pytest.raises(websockets.InvalidStatus):
            async with websockets.connect(address, additional_headers=headers, proxy=None):
                pass
