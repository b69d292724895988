"""What the scripted server knows: accounts, folders, sessions and their logs; no HTTP in here."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

READY = os.environ.get("MOCK_READY") == "1"

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
        self.tokens: set[str] = set()
        self.sessions: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, Log] = {}
        self.sources: list[dict[str, Any]] = []
        self.workspaces: list[dict[str, Any]] = []
        self.folders = {
            "/home/ada": ["oqto", "website", "notes", "thesis"],
            "/home/ada/oqto": ["docs", "src", "tests"],
        }
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
        able = {
            key: True
            for key in ("prompt_images", "steer", "follow_up", "compact", "set_model", "thinking", "resume")
        }
        self.logs[name].say(
            "session.created", resumed=resumed, capabilities=able, **{key: session[key] for key in keys}
        )
        self.logs[name].say("config.thinking_level_changed", level="medium")


state = State()


def problem(status: int, code: str, detail: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    body = {"type": f"urn:oqto:error:{code}", "title": code, "status": status, "detail": detail, "code": code}
    return status, body | {"error": detail, "instance": "req_7f3a"}, {}


def end(name: str, reason: str, detail: str, session_state: str) -> None:
    log = state.logs[name]
    if log.task and log.task is not asyncio.current_task():
        log.task.cancel()
    stderr = "Traceback (most recent call last): …\nMemoryError" if session_state == "failed" else ""
    log.say("session.closed", reason=reason, detail=detail, stderr_tail=stderr)
    error = detail if session_state == "failed" else None
    state.sessions[name] |= {"state": session_state, "agent_state": None, "error": error}
