"""How soon a browser sees what an agent wrote. `python bench/latency.py [--seconds 5] [--sessions 1 50]`

Real server, runner, bubblewrap and WebSockets; one browser for each session, and then one for all. The agents are the harness `echo`,
told `clock N 100`: N lines at 100 a second, and each line holds the monotonic time at which it is written.

Measured: from that moment in the agent, just before its write(2) to stdout, to the arrival of the bytes in the
browser's socket (the client's `data_received`). So pipe, runner, event log on disk, Unix socket, core, Granian and
the loopback are all inside; so is the wait of 50 agents, server and client for the processors they share.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
import time
from pathlib import Path

import uvloop
from _browser import Browser, connect
from _figures import claim, cpu_s, fact, middle, percentile, put_tools_on_path

from oqto_platform.peers import listener_pid
from oqto_platform.testing.stack import Stack

MEDIAN_MS, P99_MS = 3, 10
RATE_PER_S = 100
STAMP = re.compile(rb'"event":"stream.text_delta".{0,400}?"delta":"(\d+) "')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 50])
    options = parser.parse_args()
    put_tools_on_path()
    settings = {"sessions.max_concurrent_sessions": max(options.sessions)}
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(Path(folder), plugins=("sandbox",), **settings) as stack,
    ):
        stack.set_up()
        for sessions in options.sessions:
            uvloop.run(measure(stack, sessions, options.seconds))


async def measure(stack: Stack, sessions: int, seconds: int) -> None:
    ids = [stack.start_session(harness="echo")["id"] for _ in range(sessions)]
    await watched(stack, [[session_id] for session_id in ids], seconds)
    if sessions > 1:
        await watched(stack, [ids], seconds)
    for session_id in ids:
        stack.client.post(f"/api/sessions/{session_id}/stop").raise_for_status()


async def watched(stack: Stack, watchers: list[list[str]], seconds: int) -> None:
    """All sessions stream at once; each watcher is one browser that follows some of them."""
    browsers = [await connect(stack.url, stack.cookie()) for _ in watchers]
    for browser, ids in zip(browsers, watchers, strict=True):
        for session_id in ids:
            await browser.ask(session_id, "subscribe", after=0, lines=True)  # as the web UI does
    before, begun = spent(stack), time.monotonic()
    await asyncio.gather(*(stream(*pair, seconds) for pair in zip(browsers, watchers, strict=True)))
    took_s, after = time.monotonic() - begun, spent(stack)
    sessions = sum(map(len, watchers))
    load = f"{sessions} session{'s' if sessions > 1 else ''} in {len(browsers)} browser{'s' if len(browsers) > 1 else ''}"
    report(load, [delay for browser in browsers for delay in delays(browser)])
    events = sessions * seconds * RATE_PER_S
    shares = ", ".join(f"{name} {(after[name] - before[name]) / events * 1e6:.0f} µs" for name in before)
    fact(f"  {load}, CPU per event", f"{shares}; {events / took_s:,.0f} events/s")
    for browser in browsers:
        browser.close()


async def stream(browser: Browser, ids: list[str], seconds: int) -> None:
    browser.chunks.clear()
    idle = browser.wait_for(b'"agent.idle"', times=len(ids))
    for session_id in ids:
        browser.send(0, session_id, "prompt", message=f"clock {seconds * RATE_PER_S} {RATE_PER_S}")
    await browser.until(idle)


def delays(browser: Browser) -> list[float]:
    """Milliseconds per event. A frame cut in two counts from the arrival of its end."""
    found, text, times = [], b"", []
    for at, data in browser.chunks:
        text += data
        times.append((len(text), at))
    current = iter(times)
    end, at = next(current)
    for match in STAMP.finditer(text):
        while end < match.end():
            end, at = next(current)
        found.append((at - int(match[1])) / 1e6)
    return found


def report(load: str, found: list[float]) -> None:
    name = f"stdout to browser, {load}, {RATE_PER_S} events/s each"
    claim(f"{name}, median", middle(found), MEDIAN_MS, "ms", f"{len(found)} events")
    claim(f"{name}, p99", percentile(found, 99), P99_MS, "ms", f"max {max(found):.1f} ms")


def spent(stack: Stack) -> dict[str, float]:
    """CPU seconds of the processes on the way. The agents' and the client's are not ours."""
    assert stack.process is not None
    children = Path(f"/proc/{stack.process.pid}/task/{stack.process.pid}/children").read_text().split()
    runner = listener_pid(str(next(path for path in stack.sockets() if "runner" in path.name)))
    assert runner is not None
    return {"core": sum(cpu_s(int(pid)) for pid in children), "runner": cpu_s(runner)}


if __name__ == "__main__":
    main()
