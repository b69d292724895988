"""Rules about the end: no task, thread, socket, file, process or variable of the plugin is left."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from oqto_platform.testing.inspection import Report

NAMES = {
    "tasks": "the task",
    "threads": "the thread",
    "descriptors": "the",
    "children": "the process",
    "variables": "the variable",
}


@dataclass(frozen=True)
class Traces:
    """What a process has open at one moment."""

    tasks: frozenset[str]
    threads: frozenset[str]
    descriptors: frozenset[str]
    children: frozenset[str]
    variables: frozenset[str]


def traces() -> Traces:
    """What there is now. Call it inside the event loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return Traces(
        tasks=frozenset(f"{task.get_name()} ({_where(task)})" for task in others),
        threads=frozenset(thread.name for thread in threading.enumerate() if not _is_executors(thread)),
        descriptors=frozenset(_descriptors()),
        children=frozenset(_children(os.getpid())),
        variables=frozenset(f"{name}={value}" for name, value in os.environ.items()),
    )


def compare(report: Report, before: Traces, after: Traces) -> None:
    """Name everything that was not there before."""
    repairs = {
        "tasks": "cancel and await it in shutdown",
        "threads": "end and join it in shutdown",
        "descriptors": "close it in shutdown",
        "children": "end it in shutdown, or let the house keep it: await context.supervise(Child(…))",
        "variables": "the environment belongs to the whole process; pass values on instead",
    }
    for kind, repair in repairs.items():
        for left in sorted(getattr(after, kind) - getattr(before, kind)):
            report.say("leftovers", f"leaves {NAMES[kind]} {left}: {repair}")


def stray_files(report: Report, *folders: Path) -> None:
    """Files outside of the folders that the context gave."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            report.say(
                "leftovers", f"leaves {path.name} in {folder.name}; write to context.data_dir or state_dir"
            )


def _where(task: asyncio.Task[object]) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", repr(coroutine))


def _is_executors(thread: threading.Thread) -> bool:
    """Threads of the loop's executor, which the loop ends, and of the database, which the house closes."""
    return thread.name.startswith(("asyncio_", "db-", "MainThread"))


def _descriptors() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # the listing's own
        if not target.startswith(("/dev/", "anon_inode", "/proc/")) and "oqto.db" not in target:
            found.append(f"descriptor {entry.name} → {target}")
    return found


def _children(pid: int) -> list[str]:
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    pids = listing.read_text().split() if listing.exists() else []
    return [f"{child} {_command(child)}".strip() for child in pids]


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:120]
    except OSError:
        return ""
