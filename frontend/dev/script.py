"""What the scripted agent of the mock server does, picked by the words of the prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

ANSWER = """Here is what I found in this folder. It is a **small web service** with three parts:

1. `app.py` serves the pages
2. `store.py` keeps the data
3. `tests/` proves that both work

```python
def greet(name: str) -> str:
    \"\"\"Say hello in a friendly way.\"\"\"
    return f"Hello, {name}!"  # always polite
```

| file | lines | tests |
|---|---:|---|
| app.py | 120 | yes |
| store.py | 88 | yes |

> Nothing was changed.

![diagram](https://tracker.example/pixel.png) See the [docs](https://docs.example/start) for more.
<script>alert(1)</script>
"""
LISTING = "\n".join(
    f"-rw-r--r-- 1 ada ada {4096 + at * 7:>7} Nov 22 04:0{at % 10} file_{at:03}.py" for at in range(240)
)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


async def play(log: Any, text: str, cut: Callable[[], None], crash: Callable[[], None]) -> None:
    words = set(text.lower().split())
    if "tools" in words:
        await use_tools(log)
    if "ask" in words:
        await ask(log)
    if "retry" in words:
        await retry(log)
    if "compact" in words:
        log.say("compact.start", reason="threshold")
        await asyncio.sleep(0.5)
        log.say("compact.end", success=True, summary="The project was explored; nothing was changed so far.")
    if "error" in words:
        log.say("agent.error", error="The provider answered 529: overloaded.", recoverable=True)
        return
    if "crash" in words:
        crash()
        return
    await answer(
        log,
        ANSWER * (20 if "long" in words else 1),
        0.12 if "slow" in words else 0.012,
        cut if "drop" in words else None,
    )


async def answer(log: Any, text: str, pause_s: float, cut: Callable[[], None] | None) -> None:
    name = f"a{len(log.events)}"
    log.say("stream.message_start", message_id=name, role="assistant")
    thought = "**Looking around first**\nThe folder is small, so I read all of it before I answer."
    for piece in pieces(thought):
        log.say("stream.thinking_delta", message_id=name, delta=piece, content_index=0)
        await asyncio.sleep(pause_s)
    for at, piece in enumerate(pieces(text)):
        log.say("stream.text_delta", message_id=name, delta=piece, content_index=1)
        if cut and at == 12:
            cut()
        await asyncio.sleep(pause_s)
    usage = {"input_tokens": 5200, "output_tokens": 310, "cost_usd": 0.0123}
    parts = [{"type": "thinking", "text": thought}, {"type": "text", "text": text}]
    finish(log, name, parts, usage=usage, stop_reason="stop", model="demo", provider="demo")


def pieces(text: str) -> list[str]:
    return [text[at : at + 7] for at in range(0, len(text), 7)]


def finish(log: Any, name: str, parts: list[dict[str, Any]], **fields: Any) -> None:
    log.say("stream.message_end", message={"id": name, "role": "assistant", "parts": parts, **fields})


async def use_tools(log: Any) -> None:
    calls = [
        ("bash", {"command": "ls -la"}, LISTING, False),
        ("read", {"path": "src/app.py"}, {"content": [{"type": "text", "text": "import flask\n\napp = flask.Flask(__name__)\n"}]}, False),
        ("edit", {"path": "src/app.py", "oldText": "flask", "newText": "litestar"}, "Replaced 2 places.", False),
        ("bash", {"command": "pytest -q tests/test_app.py"}, "E   AssertionError: expected 200, got 500\n1 failed in 0.31s", True),
        ("screenshot", {"url": "http://localhost:3000"}, {"content": [{"type": "image", "data": PIXEL, "mimeType": "image/png"}]}, False),
    ]  # fmt: skip
    name = f"a{len(log.events)}"
    log.say("stream.message_start", message_id=name, role="assistant")
    log.say(
        "stream.text_delta", message_id=name, delta="I look at the folder and run the tests.", content_index=0
    )
    parts: list[dict[str, Any]] = [{"type": "text", "text": "I look at the folder and run the tests."}]
    for at, (tool, given, _, _) in enumerate(calls, start=1):
        call = f"{name}-t{at}"
        log.say("stream.tool_call_start", message_id=name, tool_call_id=call, name=tool, content_index=at)
        log.say(
            "stream.tool_call_end",
            message_id=name,
            tool_call_id=call,
            name=tool,
            input=given,
            content_index=at,
        )
        parts.append(
            {"type": "tool_call", "toolCallId": call, "name": tool, "input": given, "status": "pending"}
        )
    finish(log, name, parts, stop_reason="tool_use")
    for at, (tool, given, output, is_error) in enumerate(calls, start=1):
        await run_tool(log, f"{name}-t{at}", tool, given, output, is_error=is_error)


async def run_tool(log: Any, call: str, tool: str, given: Any, output: Any, *, is_error: bool) -> None:
    log.say("agent.working", phase="tool_running", detail=tool)
    log.say("tool.start", tool_call_id=call, name=tool, input=given)
    await asyncio.sleep(0.35)
    log.say("tool.progress", tool_call_id=call, name=tool, partial_output="…")
    await asyncio.sleep(0.35)
    log.say("tool.end", tool_call_id=call, name=tool, output=output, is_error=is_error, duration_ms=712)
    log.say("agent.working", phase="generating")


async def ask(log: Any) -> None:
    questions: list[dict[str, Any]] = [
        {"type": "select", "title": "Which database should I use?", "options": ["SQLite", "PostgreSQL", "Neither, keep files"]},
        {"type": "confirm", "title": "Delete the old tests?", "message": "tests/legacy/ (14 files) is not used any more."},
        {"type": "input", "title": "What should the package be called?", "placeholder": "lower-case-with-dashes"},
        {"type": "editor", "title": "Edit the commit message", "prefill": "Use Litestar\n\nFlask is gone."},
    ]  # fmt: skip
    for question in questions:
        name = f"q{len(log.events)}"
        log.answers[name] = asyncio.get_running_loop().create_future()
        log.say("agent.input_needed", request={"request_id": name, "timeout_ms": 120_000, **question})
        await log.answers[name]


async def retry(log: Any) -> None:
    for attempt in (1, 2):
        log.say("agent.working", phase="retrying")
        log.say("retry.start", attempt=attempt, max_attempts=3, delay_ms=1500, error="529 overloaded")
        await asyncio.sleep(1.6)
    log.say("retry.end", success=True, attempt=2)
    log.say("agent.working", phase="generating")
