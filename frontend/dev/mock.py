"""A server for working on the interface alone: docs/reference/api.md with a scripted agent behind it.

    granian --interface asgi --port 8080 dev.mock:app        (in this folder; then `npm run dev`)

The setup link is `/#/setup/first`. What a prompt says picks the script: `tools`, `ask`, `retry`, `error`,
`compact`, `crash`, `drop` (the socket is cut in the middle), `slow`, `long`, `image`; anything else is answered in
Markdown. MOCK_READY=1 starts with an account (ada, correct horse) and the demo model; MOCK_LONG=10000 fills the
first session with that many messages. Names `wrong-key`, `no-credit` and `no-network` as API keys fail that way.
MOCK_AUDIT=broken shows an audit log that was cut.
"""

from __future__ import annotations

import asyncio
import json
import mimetypes
import os
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from .api import ROUTES
from .script import play
from .world import Log, end, problem, state

DIST = Path(__file__).resolve().parents[1] / "dist"
CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " base-uri 'none'; frame-ancestors 'none'; form-action 'self'; object-src 'none'"
)
LONG = int(os.environ.get("MOCK_LONG", "0"))


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await http(scope, receive, send)
    elif scope["type"] == "websocket":
        await mux(scope, receive, send)
    elif scope["type"] == "lifespan":
        if LONG:
            fill()
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


def fill() -> None:
    session = state.start({"workspace": "/home/ada/oqto", "title": "A very long conversation"})
    log = state.logs[session["id"]]
    for at in range(LONG):
        role = "assistant" if at % 2 else "user"
        text = f"Message **{at}** with `code` and a [link](https://example.com/{at}).\n\n- one\n- two"
        log.say(
            "stream.message_end",
            message={"id": f"m{at}", "role": role, "parts": [{"type": "text", "text": text}]},
        )


async def http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    path = unquote(scope["path"])
    if not path.startswith(("/api/", "/mock/")):
        return await static(path, send)
    query: dict[str, Any] = {
        key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()
    }
    query["is_signed_in"] = is_signed_in(scope)
    status, answer, headers = await route(scope["method"], path, query, json.loads(body or b"{}"))
    payload = b"" if answer is None else json.dumps(answer).encode()
    await respond(send, status, payload, {"content-type": "application/json", **headers})


def is_signed_in(scope: dict[str, Any]) -> bool:
    cookies = dict(scope["headers"]).get(b"cookie", b"").decode()
    return any(f"oqto={token}" in cookies for token in state.tokens)


async def static(path: str, send: Any) -> None:
    file = (DIST / path.lstrip("/")).resolve()
    if not file.is_file() or DIST not in file.parents:
        file = DIST / "index.html"
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    await respond(send, 200, file.read_bytes(), {"content-type": kind, "content-security-policy": CSP})


async def respond(send: Any, status: int, body: bytes, headers: dict[str, str]) -> None:
    raw = [(key.encode(), value.encode()) for key, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def route(
    method: str, path: str, query: dict[str, Any], body: dict[str, Any]
) -> tuple[int, Any, dict[str, str]]:
    for verb, pattern, handler in ROUTES:
        match = re.fullmatch(pattern, path)
        if match and verb == method:
            if not path.startswith(("/api/auth/", "/mock/")) and not query["is_signed_in"]:
                return problem(401, "not-signed-in", "Sign in first.")
            return await handler(query, body, *match.groups())
    return problem(404, "not-found", f"{method} {path} does not exist.")


async def mux(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    if not is_signed_in(scope):
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "websocket.accept"})
    out: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    state.sockets.add(out)
    out.put_nowait({"channel": "system", "type": "connected", "version": "1.0.0", "max_message_bytes": 16_776_192})
    writer = asyncio.create_task(write(out, send))
    pinger = asyncio.create_task(ping(out))
    try:
        while (message := await receive())["type"] == "websocket.receive":
            await command(json.loads(message["text"]), out)
    finally:
        writer.cancel()
        pinger.cancel()
        state.sockets.discard(out)
        for log in state.logs.values():
            log.followers.discard(out)  # type: ignore[arg-type]


async def write(out: asyncio.Queue[dict[str, Any] | None], send: Any) -> None:
    while (frame := await out.get()) is not None:
        await send({"type": "websocket.send", "text": json.dumps(frame)})
    await send({"type": "websocket.close", "code": 1012})


async def ping(out: asyncio.Queue[dict[str, Any] | None]) -> None:
    while True:
        await asyncio.sleep(10)
        out.put_nowait({"channel": "system", "type": "ping"})


async def command(frame: dict[str, Any], out: Any) -> None:
    reply = {
        "channel": "agent",
        "event": "response",
        "id": frame["id"],
        "session_id": frame["session_id"],
        "cmd": frame["cmd"],
    }
    log = state.logs.get(frame["session_id"])
    if log is None:
        return out.put_nowait(
            reply | {"success": False, "error": problem(404, "not-found", "This session does not exist.")[1]}
        )
    handled = handle(frame, log, out, reply)
    if handled is not None:
        out.put_nowait(reply | {"success": True, "data": handled})


def handle(frame: dict[str, Any], log: Log, out: Any, reply: dict[str, Any]) -> Any:
    cmd = frame["cmd"]
    if cmd == "subscribe":
        after = frame.get("after", 0)
        data = {"mode": "exact", "last": len(log.events), "reset": False}
        out.put_nowait(reply | {"success": True, "data": data})
        for event in log.events[after:]:
            out.put_nowait(event)
        log.followers.add(out)
        return None
    if cmd == "unsubscribe":
        log.followers.discard(out)
    elif log.session["state"] != "running":
        out.put_nowait(
            reply
            | {
                "success": False,
                "error": problem(503, "runner-unavailable", "The session is not running.")[1],
            }
        )
        return None
    elif cmd in {"prompt", "steer", "follow_up"}:
        take(frame, log, cmd)
    elif cmd == "abort" and log.task:
        log.task.cancel()
    elif cmd == "input_response":
        waiting = log.answers.pop(frame["request_id"], None)
        if waiting and not waiting.done():
            waiting.set_result(frame)
        log.say("agent.input_resolved", request_id=frame["request_id"], reason="answered")
    elif cmd == "set_model":
        log.session |= {"provider": frame["provider"], "model": frame["model_id"]}
        log.say("config.model_changed", provider=frame["provider"], model_id=frame["model_id"])
    elif cmd == "set_thinking_level":
        log.say("config.thinking_level_changed", level=frame["level"])
    elif cmd == "compact":
        log.say("compact.start", reason="manual")
        log.say("compact.end", success=True, summary="You looked at the project together.")
    return {}


def take(frame: dict[str, Any], log: Log, cmd: str) -> None:
    if frame["client_id"] in log.clients:
        return
    log.clients.add(frame["client_id"])
    if cmd != "prompt" and log.task and not log.task.done():
        log.queue["steering" if cmd == "steer" else "follow_up"].append(frame["message"])
        log.say("queue.changed", **{key: list(value) for key, value in log.queue.items()})
        return
    show(log, frame)
    log.task = asyncio.create_task(turn(log, frame["message"]))


def show(log: Log, frame: dict[str, Any]) -> None:
    parts: list[dict[str, Any]] = [{"type": "text", "text": frame["message"]}]
    parts += [
        {"type": "image", "data": one["data"], "mimeType": one["media_type"]}
        for one in frame.get("images", ())
    ]
    message = {"id": f"u{len(log.events)}", "role": "user", "parts": parts, "client_id": frame["client_id"]}
    log.say("stream.message_end", message=message | {"created_at": int(time.time() * 1000)})


async def turn(log: Log, text: str) -> None:
    log.session |= {"agent_state": "working", "last_active_at": time.time()}
    if not log.session["title"]:
        log.session["title"] = text[:48]
        log.say("session.title_changed", title=text[:48])
    log.say("agent.working", phase="generating")
    stop_reason = "stop"
    try:
        await play(
            log,
            text,
            cut_all,
            lambda: end(
                log.session["id"], "crashed", "The agent was killed: out of memory (limit 8 GiB).", "failed"
            ),
        )
    except asyncio.CancelledError:
        stop_reason = "aborted"
    if log.session["state"] != "running":
        return
    log.session |= {"agent_state": "idle", "spent_usd": log.session["spent_usd"] + 0.0123}
    log.queue = {"steering": [], "follow_up": []}
    log.say("queue.changed")
    log.say("agent.idle", stop_reason=stop_reason)


def cut_all() -> None:
    for socket in list(state.sockets):
        socket.put_nowait(None)
