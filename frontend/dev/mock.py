"""A server for working on the interface alone: docs/reference/api.md with a scripted agent behind it.

    granian --interface asgi --port 8080 dev.mock:app        (in this folder; then `npm run dev`)

The setup link is `/#/setup/first`. What a prompt says picks the script: `tools`, `ask`, `retry`, `error`,
`compact`, `crash`, `drop` (the socket is cut in the middle), `slow`, `long`, `image`; anything else is answered in
Markdown. MOCK_READY=1 starts with an account (ada, correct horse) and the demo model; MOCK_LONG=10000 fills the
first session with that many messages. Names `wrong-key`, `no-credit` and `no-network` as API keys fail that way.
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

from .script import play

DIST = Path(__file__).resolve().parents[1] / "dist"
CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " base-uri 'none'; frame-ancestors 'none'; form-action 'self'; object-src 'none'"
)
READY = os.environ.get("MOCK_READY") == "1"
LONG = int(os.environ.get("MOCK_LONG", "0"))

DEMO = {
    "name": "demo",
    "title": "Demo",
    "is_demo": True,
    "models": [
        {"id": "demo", "name": "Demo model", "reasoning": True, "input": ["text", "image"], "context_window": 128000,
         "max_tokens": 8192, "cost_input": 0, "cost_output": 0},
    ],
}  # fmt: skip


class Log:
    """Events of one session, and who follows them."""

    def __init__(self, session: dict[str, Any]) -> None:
        self.session = session
        self.events: list[dict[str, Any]] = []
        self.followers: set[asyncio.Queue[dict[str, Any]]] = set()
        self.answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self.task: asyncio.Task[None] | None = None
        self.clients: set[str] = set()
        self.queue: dict[str, list[str]] = {"steering": [], "follow_up": []}

    def say(self, event: str, **fields: Any) -> None:
        frame = {"channel": "agent", "event": event, "session_id": self.session["id"], "runner_id": "local"}
        frame |= {"seq": len(self.events) + 1, "ts": int(time.time() * 1000), **fields}
        self.events.append(frame)
        for follower in self.followers:
            follower.put_nowait(frame)


class State:
    def __init__(self) -> None:
        self.account: dict[str, Any] | None = None
        self.password = ""
        self.fails = 0
        self.signed_in = False
        self.sessions: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, Log] = {}
        self.sources: list[dict[str, Any]] = []
        self.workspaces: list[dict[str, Any]] = []
        self.folders = {"/home/ada": ["oqto", "website", "notes", "thesis"], "/home/ada/oqto": ["docs", "src", "tests"]}
        self.sockets: set[asyncio.Queue[dict[str, Any] | None]] = set()
        if READY:
            self.account = {"id": "acc_1", "name": "ada", "role": "admin", "email": None}
            self.password = "correct horse"
            self.sources = [DEMO]
            self.workspaces = [{"path": "/home/ada/oqto", "name": "oqto", "last_used_at": time.time() - 4000}]

    def start(self, body: dict[str, Any]) -> dict[str, Any]:
        name = f"ses_{len(self.sessions) + 1}"
        now = time.time()
        session = {
            "id": name, "workspace": body["workspace"], "workspace_name": body["workspace"].rsplit("/", 1)[-1],
            "harness": "pi", "provider": body.get("provider") or "demo", "model": body.get("model") or "demo",
            "title": body.get("title", ""), "state": "running", "created_at": now, "started_at": now,
            "stopped_at": None, "last_active_at": now, "agent_state": "idle", "confined_by": "sandbox",
            "profile": "development", "network": "none", "sandbox": "May write /home/ada/oqto only; no network.",
            "spent_usd": 0.0, "error": None,
        }  # fmt: skip
        self.sessions[name] = session
        self.logs[name] = Log(session)
        self.created(name, resumed=False)
        return session

    def created(self, name: str, *, resumed: bool) -> None:
        session = self.sessions[name]
        keys = ("harness", "provider", "model", "confined_by", "profile", "network", "sandbox")
        able = {key: True for key in ("prompt_images", "steer", "follow_up", "compact", "set_model", "thinking", "resume")}
        self.logs[name].say("session.created", resumed=resumed, capabilities=able, **{key: session[key] for key in keys})
        self.logs[name].say("config.thinking_level_changed", level="medium")


state = State()


def problem(status: int, code: str, detail: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    body = {"type": f"urn:oqto:error:{code}", "title": code, "status": status, "detail": detail, "code": code}
    return status, body | {"error": detail, "instance": "req_7f3a"}, {}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await http(scope, receive, send)
    elif scope["type"] == "websocket":
        await mux(receive, send)
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
        log.say("stream.message_end", message={"id": f"m{at}", "role": role, "parts": [{"type": "text", "text": text}]})


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
    query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    status, answer, headers = await route(scope["method"], path, query, json.loads(body or b"{}"))
    payload = b"" if answer is None else json.dumps(answer).encode()
    await respond(send, status, payload, {"content-type": "application/json", **headers})


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


async def route(method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
    for verb, pattern, handler in ROUTES:
        match = re.fullmatch(pattern, path)
        if match and verb == method:
            if not path.startswith(("/api/auth/", "/mock/")) and not state.signed_in:
                return problem(401, "not-signed-in", "Sign in first.")
            return await handler(query, body, *match.groups())
    return problem(404, "not-found", f"{method} {path} does not exist.")


async def auth_state(query: Any, body: Any) -> Any:
    account = state.account if state.signed_in else None
    return 200, {"setup_required": state.account is None, "account": account, "version": "1.0.0", "mode": "personal"}, {}


async def setup(query: Any, body: Any) -> Any:
    if state.account or body["token"] != "first":
        return problem(403, "forbidden", "This link is used up or wrong; restart Oqto to print a new one.")
    state.account = {"id": "acc_1", "name": body["name"], "role": "admin", "email": None}
    state.password = body["password"]
    state.signed_in = True
    return 201, state.account, {}


async def login(query: Any, body: Any) -> Any:
    if state.fails >= 3:
        state.fails = 0
        return (*problem(429, "limit-reached", "Too many tries.")[:2], {"retry-after": "12"})
    if state.account is None or (body["name"], body["password"]) != (state.account["name"], state.password):
        state.fails += 1
        return problem(401, "not-signed-in", "Name and password do not match.")
    state.signed_in = True
    return 200, state.account, {}


async def logout(query: Any, body: Any) -> Any:
    state.signed_in = False
    for socket in list(state.sockets):
        socket.put_nowait({"channel": "system", "type": "bye", "code": "signed_out", "reason": "signed out"})
        socket.put_nowait(None)
    return 204, None, {}


async def change_password(query: Any, body: Any) -> Any:
    if body["current"] != state.password:
        return problem(401, "not-signed-in", "This is not the current password.")
    state.password = body["new"]
    return 204, None, {}


async def features(query: Any, body: Any) -> Any:
    harnesses = [{"name": "pi", "title": "Pi"}]
    return 200, {"version": "1.0.0", "mode": "personal", "harnesses": harnesses, "plugins": ["eavs", "sandbox"]}, {}


async def usage(query: Any, body: Any) -> Any:
    spent = {name: session["spent_usd"] for name, session in state.sessions.items()}
    return 200, {"spent_usd": sum(spent.values()), "limit_usd": 5.0, "calls": 12, "sessions": spent}, {}


async def workspaces(query: Any, body: Any) -> Any:
    return 200, state.workspaces, {}


async def browse(query: Any, body: Any) -> Any:
    path = query.get("path") or "/home/ada"
    if path.startswith("/root"):
        return problem(403, "forbidden", f"{path} belongs to another user; you may not look inside.")
    folders = [
        {"name": name, "path": f"{path.rstrip('/')}/{name}", "is_repository": name in {"oqto", "website"}}
        for name in state.folders.get(path, [])
    ]
    parent = path.rsplit("/", 1)[0] or "/"
    writable = path.startswith("/home/ada")
    return 200, {"path": path, "parent": parent if path != "/" else None, "folders": folders, "is_writable": writable,
                 "is_truncated": False}, {}  # fmt: skip


async def open_workspace(query: Any, body: Any) -> Any:
    parent, _, name = body["path"].rpartition("/")
    known = state.folders.setdefault(parent, [])
    if body.get("create") and name not in known:
        known.append(name)
    return 201, {"path": body["path"], "name": name, "is_new": bool(body.get("create"))}, {}


async def list_sessions(query: Any, body: Any) -> Any:
    return 200, sorted(state.sessions.values(), key=lambda one: -one["created_at"]), {}


async def start_session(query: Any, body: Any) -> Any:
    await asyncio.sleep(float(os.environ.get("MOCK_START_S", "0.4")))
    return 201, state.start(body), {}


async def get_session(query: Any, body: Any, name: str) -> Any:
    if name not in state.sessions:
        return problem(404, "not-found", "This session does not exist.")
    return 200, state.sessions[name], {}


async def rename(query: Any, body: Any, name: str) -> Any:
    state.sessions[name]["title"] = body["title"]
    state.logs[name].say("session.title_changed", title=body["title"])
    return 200, state.sessions[name], {}


async def stop(query: Any, body: Any, name: str) -> Any:
    end(name, "stopped", "You ended the session.", "stopped")
    return 200, state.sessions[name], {}


async def resume(query: Any, body: Any, name: str) -> Any:
    await asyncio.sleep(0.4)
    state.sessions[name] |= {"state": "running", "agent_state": "idle", "error": None}
    state.created(name, resumed=True)
    return 200, state.sessions[name], {}


async def delete(query: Any, body: Any, name: str) -> Any:
    state.sessions.pop(name, None)
    state.logs.pop(name, None)
    return 204, None, {}


async def models(query: Any, body: Any) -> Any:
    return 200, state.sources, {}


async def providers(query: Any, body: Any) -> Any:
    return 200, [
        {"name": one["name"], "title": one["title"], "kind": one["name"], "base_url": "", "has_key": not one["is_demo"],
         "is_demo": one["is_demo"], "models": [model["id"] for model in one["models"]]}
        for one in state.sources
    ], {}  # fmt: skip


FAILURES = {
    "wrong-key": "Anthropic answered 401: it does not accept this key. Copy it again from the console.",
    "no-credit": "The key is right, but the account behind it has no credit left.",
    "no-network": "api.anthropic.com cannot be reached from this server: the connection timed out.",
}


async def add_provider(query: Any, body: Any) -> Any:
    await asyncio.sleep(0.6)
    if body["api_key"] in FAILURES:
        return problem(422, "invalid", FAILURES[body["api_key"]])
    source = DEMO
    if body["kind"] != "demo":
        model = DEMO["models"][0] | {"id": "large-1", "name": "Large 1", "cost_input": 3, "cost_output": 15}
        source = {"name": body["name"], "title": body["name"].title(), "is_demo": False, "models": [model]}
    state.sources = [one for one in state.sources if one["name"] != source["name"]] + [source]
    return 201, source, {}


async def remove_provider(query: Any, body: Any, name: str) -> Any:
    state.sources = [one for one in state.sources if one["name"] != name]
    return 204, None, {}


async def cut(query: Any, body: Any) -> Any:
    for socket in list(state.sockets):
        socket.put_nowait(None)
    return 204, None, {}


ONE = r"/api/sessions/([\w-]+)"
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/api/auth/state", auth_state),
    ("POST", "/api/auth/setup", setup),
    ("POST", "/api/auth/login", login),
    ("POST", "/api/auth/logout(?:-everywhere)?", logout),
    ("POST", "/api/auth/change-password", change_password),
    ("GET", "/api/features", features),
    ("GET", "/api/usage", usage),
    ("GET", "/api/workspaces", workspaces),
    ("GET", "/api/workspaces/browse", browse),
    ("POST", "/api/workspaces", open_workspace),
    ("GET", "/api/sessions", list_sessions),
    ("POST", "/api/sessions", start_session),
    ("GET", ONE, get_session),
    ("PATCH", ONE, rename),
    ("POST", ONE + "/stop", stop),
    ("POST", ONE + "/resume", resume),
    ("DELETE", ONE, delete),
    ("GET", "/api/models", models),
    ("GET", "/api/plugins/eavs/providers", providers),
    ("POST", "/api/plugins/eavs/providers", add_provider),
    ("DELETE", r"/api/plugins/eavs/providers/([\w-]+)", remove_provider),
    ("POST", "/mock/cut", cut),
]


def end(name: str, reason: str, detail: str, session_state: str) -> None:
    log = state.logs[name]
    if log.task and log.task is not asyncio.current_task():
        log.task.cancel()
    stderr = "Traceback (most recent call last): …\nMemoryError" if session_state == "failed" else ""
    log.say("session.closed", reason=reason, detail=detail, stderr_tail=stderr)
    error = detail if session_state == "failed" else None
    state.sessions[name] |= {"state": session_state, "agent_state": None, "error": error}


async def mux(receive: Any, send: Any) -> None:
    await receive()
    if not state.signed_in:
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "websocket.accept"})
    out: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    state.sockets.add(out)
    out.put_nowait({"channel": "system", "type": "connected", "version": "1.0.0"})
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
    reply = {"channel": "agent", "event": "response", "id": frame["id"], "session_id": frame["session_id"], "cmd": frame["cmd"]}
    log = state.logs.get(frame["session_id"])
    if log is None:
        return out.put_nowait(reply | {"success": False, "error": problem(404, "not-found", "This session does not exist.")[1]})
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
        out.put_nowait(reply | {"success": False, "error": problem(503, "runner-unavailable", "The session is not running.")[1]})
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
    parts += [{"type": "image", "data": one["data"], "mimeType": one["media_type"]} for one in frame.get("images", ())]
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
        await play(log, text, cut_all, lambda: end(log.session["id"], "crashed", "The agent was killed: out of memory (limit 8 GiB).", "failed"))
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
