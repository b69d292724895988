"""`server.max_upload_size_mb`, wherever something large may come in: bodies, messages, pictures."""

from __future__ import annotations

import json

import pytest
from live_config import settings
from waiting import until

from oqto_platform.testing.mux import mux_client
from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.real
MIB = 2**20


@pytest.fixture(scope="module")
def stack(tmp_path_factory, needs_bubblewrap):
    root = tmp_path_factory.mktemp("limit")
    config = root / "config.toml"
    config.write_text("")
    with Stack(root, plugins=("sandbox",), env={"OQTO_CONFIG": str(config)}) as stack:
        stack.config = config
        stack.set_up()
        yield stack


@pytest.fixture(scope="module")
def session(stack):
    return stack.start_session(harness="echo")["id"]


def limit(stack, mb):
    stack.config.write_text(f"[server]\nmax_upload_size_mb = {mb}\n")
    until(lambda: settings(stack)["server.max_upload_size_mb"]["value"] == mb)


async def refusal(mux, session, *pieces):
    """What is said to a message that is too large; the connection lives on."""
    head = json.dumps({"channel": "agent", "id": "big", "session_id": session, "cmd": "prompt"})[:-1]
    await mux._socket.send([f'{head}, "message": "', *pieces, '"}'])
    assert (await mux.command(session, "get_state"))["success"]
    error = next(frame for frame in mux.system if frame["type"] == "error")
    assert (error["id"], error["error"]["code"]) == ("big", "too-large")
    return error["error"]["detail"]


async def test_a_message_over_the_limit_is_refused_and_the_connection_lives(stack, session):
    limit(stack, 1)
    async with mux_client(stack.url, stack.cookie()) as mux:
        told = await refusal(mux, session, "x" * MIB)
        assert mux.system[0]["max_message_bytes"] == MIB
        assert told == "the message is larger than 1 MiB (server.max_upload_size_mb)"


async def test_a_message_over_what_a_websocket_takes_is_told_apart_from_the_key(stack, session):
    limit(stack, 100)
    async with mux_client(stack.url, stack.cookie()) as mux:
        told = await refusal(mux, session, "x" * 10 * MIB, "x" * 10 * MIB)
        assert mux.system[0]["max_message_bytes"] == 16 * MIB - 1024
        assert told == (
            "the message is larger than 16 MiB, the most that a WebSocket takes "
            "(server.max_upload_size_mb would allow more)"
        )


async def test_a_picture_of_nearly_that_size_goes_through(stack, session):
    limit(stack, 100)
    picture = {"media_type": "image/png", "data": "A" * (15 * MIB)}
    async with mux_client(stack.url, stack.cookie()) as mux:
        assert (await mux.command(session, "prompt", message="look", client_id="1", images=[picture]))[
            "success"
        ]


def test_a_body_without_a_length_is_counted(stack):
    limit(stack, 1)
    pieces = (b" " * 65536 for _ in range(40))
    answer = stack.client.post("/api/sessions", content=pieces, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_a_body_over_the_limit_is_refused_by_its_length(stack):
    limit(stack, 1)
    answer = stack.client.post(
        "/api/sessions", content=b" " * (MIB + 1), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the body is larger than 1 MiB (server.max_upload_size_mb)"
