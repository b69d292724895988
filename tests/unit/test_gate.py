"""Whom personal mode answers, whichever address Granian was told to listen on."""

from __future__ import annotations

import pytest

from oqto_platform.auth.guards import Gate


async def status(client, host: str, *, personal: bool = True) -> int:
    sent = []

    async def inside(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    gate = Gate(inside, lambda: ("https://oqto.example.com",), lambda: 1, loopback_only=personal)
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/me",
        "headers": [(b"host", host.encode())],
        "client": client,
        "state": {},
    }
    await gate(scope, receive, send)
    return sent[0]["status"]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"])
async def test_personal_mode_answers_this_machine(address):
    assert await status((address, 5000), "localhost:8080") == 200
    assert await status(None, "localhost:8080") == 200, "a Unix socket"


@pytest.mark.parametrize("address", ["192.168.1.7", "10.0.0.7", "fe80::1", "::ffff:192.168.1.7", "1.127.0.1"])
async def test_personal_mode_answers_nobody_else_whatever_name_they_say(address):
    for host in ("127.0.0.1:8080", "localhost", "[::1]:8080"):
        assert await status((address, 5000), host) == 403


async def test_a_web_server_on_another_machine_may_stand_before_it_under_a_configured_name():
    assert await status(("192.168.1.7", 5000), "oqto.example.com") == 200
    assert await status(("192.168.1.7", 5000), "127.0.0.1", personal=False) == 200
