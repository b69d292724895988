"""The audit log of the scripted server: some records of a day, whole or, with MOCK_AUDIT=broken, cut."""

from __future__ import annotations

import os
import time
from typing import Any

HEAD = "5f2c" * 16
SCRIPT: list[dict[str, Any]] = [
    {"event": "server.started", "fields": {"version": "1.0.0", "pid": 4711}},
    {"event": "sign-in", "door": "cookie", "outcome": "refused", "fields": {"address": "127.0.0.1"}},
    {"event": "sign-in", "door": "cookie", "fields": {"address": "127.0.0.1"}},
    {"event": "session.started", "session": "ses_1", "target": "/home/ada/oqto", "fields": {"harness": "pi"}},
    {"event": "session.commanded", "session": "ses_1", "fields": {"cmd": "prompt"}},
    {"event": "sandbox.denied", "session": "ses_1", "door": "runner", "outcome": "refused", "target": "~/.ssh",
     "fields": {"rule": "deny_read"}},
    {"event": "config.changed", "fields": {"keys": ["sessions.idle_timeout_minutes"], "pending": [], "reason": "over HTTP"}},
    {"event": "config.refused", "actor": "", "outcome": "refused",
     "fields": {"reason": "config.toml: [server] unknown key 'max_upload', did you mean 'max_upload_size_mb'?"}},
    {"event": "eavs.budget_threshold", "actor": "oqto-eavs", "target": "session:ses_1", "fields": {"percent": 80}},
    {"event": "session.ended", "session": "ses_1", "outcome": "failed", "fields": {"reason": "failed"}},
]  # fmt: skip
ROUNDS = 13
STEP_MS = 7 * 60_000


def _records() -> list[dict[str, Any]]:
    """Newest first, as the server answers."""
    now = int(time.time() * 1000)
    count = ROUNDS * len(SCRIPT)
    blank = {"actor": "ada", "account": "acc_1", "door": "", "target": "", "session": "", "outcome": "ok"}
    return [
        blank | SCRIPT[seq % len(SCRIPT)]
        | {"seq": seq + 1, "ts": now - (count - seq) * STEP_MS, "request": "", "prev": HEAD}
        for seq in reversed(range(count))
    ]  # fmt: skip


def _fits(record: dict[str, Any], query: Any) -> bool:
    event, since, until = query.get("event", ""), int(query.get("since", 0)), int(query.get("until", 0))
    return (
        (not event or record["event"] == event or record["event"].startswith(f"{event}."))
        and all(not query.get(name) or query[name] == record[name] for name in ("actor", "session", "outcome"))
        and query.get("text", "").casefold() in str(record).casefold()
        and record["ts"] >= since
        and (not until or record["ts"] <= until)
    )


async def page(query: Any, body: Any) -> Any:
    limit, before = int(query.get("limit", 50)), int(query.get("before", 0))
    found = [one for one in _records() if _fits(one, query) and (not before or one["seq"] < before)]
    rest = found[limit - 1]["seq"] if len(found) > limit else None
    events = sorted({one["event"] for one in SCRIPT})
    return 200, {"records": found[:limit], "next": rest, "events": events}, {}


async def verify(query: Any, body: Any) -> Any:
    count = ROUNDS * len(SCRIPT)
    findings = []
    if os.environ.get("MOCK_AUDIT") == "broken":
        what = "records 7 to 9 are missing"
        findings = [{"seq": 7, "file": "/home/ada/.local/state/oqto/audit.log.jsonl", "line": 7, "what": what}]
    return 200, {"is_whole": not findings, "records": count, "last": count, "head": HEAD, "files": 1,
                 "findings": findings, "notes": []}, {}  # fmt: skip


async def export(query: Any, body: Any) -> Any:
    return 200, [one for one in reversed(_records()) if _fits(one, query)], {}


ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/api/admin/audit", page),
    ("GET", "/api/admin/audit/verify", verify),
    ("GET", "/api/admin/audit/export", export),
]
