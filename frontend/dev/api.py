"""The HTTP half of the scripted server: docs/reference/api.md over the state in memory."""

from __future__ import annotations

import asyncio
import os
import secrets
from typing import Any

from . import audit
from .world import DEMO, end, problem, state


async def auth_state(query: Any, body: Any) -> Any:
    account = state.account if query["is_signed_in"] else None
    return (
        200,
        {"setup_required": state.account is None, "account": account, "version": "1.0.0", "mode": "personal"},
        {},
    )


async def setup(query: Any, body: Any) -> Any:
    if state.account or body["token"] != "first":
        return problem(403, "forbidden", "This link is used up or wrong; restart Oqto to print a new one.")
    state.account = {"id": "acc_1", "name": body["name"], "role": "admin", "email": None}
    state.password = body["password"]
    return 201, state.account, sign_in()


async def login(query: Any, body: Any) -> Any:
    if state.fails >= 3:
        state.fails = 0
        return (*problem(429, "limit-reached", "Too many tries.")[:2], {"retry-after": "12"})
    if state.account is None or (body["name"], body["password"]) != (state.account["name"], state.password):
        state.fails += 1
        return problem(401, "not-signed-in", "Name and password do not match.")
    return 200, state.account, sign_in()


def sign_in() -> dict[str, str]:
    token = secrets.token_hex(8)
    state.tokens.add(token)
    return {"set-cookie": f"oqto={token}; HttpOnly; SameSite=Strict; Path=/"}


async def logout(query: Any, body: Any) -> Any:
    state.tokens.clear()
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
    return (
        200,
        {"version": "1.0.0", "mode": "personal", "harnesses": harnesses, "plugins": ["eavs", "sandbox"]},
        {},
    )


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
        "suggested": "/home/ada/projects",
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


async def panels(query: Any, body: Any) -> Any:
    return 200, [], {}


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
    ("GET", "/api/plugins/panels", panels),
    ("GET", "/api/plugins/eavs/providers", providers),
    ("POST", "/api/plugins/eavs/providers", add_provider),
    ("DELETE", r"/api/plugins/eavs/providers/([\w-]+)", remove_provider),
    ("POST", "/mock/cut", cut),
    *audit.ROUTES,
]
