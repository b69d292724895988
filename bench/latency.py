"""How soon a browser sees what an agent wrote. `python bench/latency.py [--seconds 5] [--sessions 1 50]`

Real server, runner, event log on disk, bubblewrap and WebSockets; one browser for each session, and then one for all.
The agents are the harness `echo`, each a process of its own in its own sandbox, told to `run` a program that writes
100 lines a second and puts the monotonic time into each. It is `clock.c`, because an agent waits for its model where
a real one does and should take little from those who are measured; without a C compiler it is `echo`'s own clock, in
Python, which takes twice as much.

The prompts are sent one after the other over a second, so that the agents do not write all in the same instant of each
10 ms. What counts is what was written while every session streamed. What came while they began is told besides;
so is how late the agents themselves woke up, which shows how much of the wait is the machine's.

Measured: from that moment in the agent, just before its write(2) to stdout, to the arrival of the bytes in the
browser's socket (the client's `data_received`). So pipe, runner, event log on disk, Unix socket, core, Granian and
the loopback are all inside; so is the wait of 50 agents, server and client for the processors they share.

On a machine that others use too, run it as `chrt -r 1 python bench/latency.py`. Programs of the lowest priority still
keep a processor from counting as idle, and then Linux may leave server and runner together on the other one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from itertools import accumulate
from pathlib import Path

import uvloop
from _browser import Browser, connect
from _figures import claim, cpu_s, fact, middle, percentile, put_tools_on_path

from oqto_platform.peers import listener_pid
from oqto_platform.testing.stack import Stack

MEDIAN_MS, P99_MS = 3, 10
RATE_PER_S = 100
BEGIN_S = 1.0
"""Over so long the prompts are sent. Each session streams so much longer than it is measured, and a little more."""

STAMP = re.compile(rb'"event":"stream.text_delta".{0,400}?"delta":"(\d+) ".{0,200}?"session_id":"([^"]+)"')

Delays = dict[bytes, list[tuple[int, float]]]
"""By session: monotonic ns of the write, and the milliseconds until it was seen."""


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
        writer = compiled(stack.workspace)
        for sessions in options.sessions:
            uvloop.run(measure(stack, writer, sessions, options.seconds))


def compiled(workspace: Path) -> str:
    """What to tell the agents, but for count and rate."""
    compiler = shutil.which("cc")
    if compiler is None:
        fact("agents", "no C compiler is here, so they are Python programs, and dearer")
        return "clock"
    program = workspace / "clock"
    subprocess.run([compiler, "-O2", "-o", program, Path(__file__).with_name("clock.c")], check=True)
    return f"run {program}"


async def measure(stack: Stack, writer: str, sessions: int, seconds: int) -> None:
    ids = [stack.start_session(harness="echo")["id"] for _ in range(sessions)]
    count = int((BEGIN_S + seconds + 0.5) * RATE_PER_S)
    told = f"{writer} {count} {RATE_PER_S}"
    await watched(stack, [[session_id] for session_id in ids], told)
    if sessions > 1:
        await watched(stack, [ids], told)
    for session_id in ids:
        stack.client.post(f"/api/sessions/{session_id}/stop").raise_for_status()


async def watched(stack: Stack, watchers: list[list[str]], told: str) -> None:
    """All sessions stream; each watcher is one browser that follows some of them."""
    browsers = [await connect(stack.url, stack.cookie()) for _ in watchers]
    for browser, ids in zip(browsers, watchers, strict=True):
        for session_id in ids:
            await browser.ask(session_id, "subscribe", after=0, lines=True)  # as the web UI does
    before, begun = spent(stack), time.monotonic()
    gc.disable()  # a pause of the client is not the server's
    await stream(browsers, watchers, told)
    gc.enable()
    took_s, after = time.monotonic() - begun, spent(stack)
    sessions = sum(map(len, watchers))
    load = f"{sessions} session{'s' if sessions > 1 else ''} in {len(browsers)} browser{'s' if len(browsers) > 1 else ''}"
    found = delays(browsers)
    assert len(found) == sessions, "every session must have streamed"
    report(load, found)
    events = sum(map(len, found.values()))
    shares = ", ".join(f"{name} {(after[name] - before[name]) / events * 1e6:.0f} µs" for name in before)
    fact(f"  {load}, CPU per event", f"{shares}; {events / took_s:,.0f} events/s")
    for browser in browsers:
        browser.close()


async def stream(browsers: list[Browser], watchers: list[list[str]], told: str) -> None:
    """Prompt every session in its turn; returns when all have ended."""
    ended = []
    for browser, ids in zip(browsers, watchers, strict=True):
        browser.chunks.clear()
        ended.append(browser.wait_for(b'"agent.idle"', times=len(ids)))
    pairs = [(browser, one) for browser, ids in zip(browsers, watchers, strict=True) for one in ids]
    # A whole number of steps of the agents' clock, and a little more: their phases are spread over it.
    step_s = 1 / RATE_PER_S
    pause_s = (BEGIN_S / step_s // len(pairs) + 1 / len(pairs)) * step_s
    for browser, session_id in pairs:
        browser.send(0, session_id, "prompt", message=told)
        await asyncio.sleep(pause_s)
    for browser, all_idle in zip(browsers, ended, strict=True):
        await browser.until(all_idle)


def delays(browsers: list[Browser]) -> Delays:
    """A frame cut in two counts from the arrival of its end."""
    found: Delays = defaultdict(list)
    for browser in browsers:
        text = b"".join(data for _, data in browser.chunks)
        times = zip(
            accumulate(len(data) for _, data in browser.chunks), (at for at, _ in browser.chunks), strict=True
        )
        end, at = next(times)
        for match in STAMP.finditer(text):
            while end < match.end():
                end, at = next(times)
            written = int(match[1])
            found[match[2]].append((written, (at - written) / 1e6))
    return found


def report(load: str, found: Delays) -> None:
    since = max(events[0][0] for events in found.values())
    until = min(events[-1][0] for events in found.values())
    counted = [ms for events in found.values() for at, ms in events if since <= at <= until]
    early = [ms for events in found.values() for at, ms in events if at < since]
    name = f"stdout to browser, {load}, {RATE_PER_S} events/s each"
    claim(f"{name}, median", middle(counted), MEDIAN_MS, "ms", f"{len(counted)} events")
    claim(f"{name}, p99", percentile(counted, 99), P99_MS, "ms", f"max {max(counted):.1f} ms")
    late = [ms for events in found.values() for ms in lateness([at for at, _ in events])]
    fact(
        f"  {load}, agents awake late by", f"median {middle(late):.2f} ms, p99 {percentile(late, 99):.1f} ms"
    )
    if len(found) > 1:
        began = f"median {middle(early):.2f} ms, p99 {percentile(early, 99):.1f} ms, max {max(early):.1f} ms"
        fact(f"  {load}, while they began", began)


def lateness(stamps: list[int]) -> list[float]:
    """Milliseconds by which each write missed its time, which no software of ours can help: how busy the machine is."""
    due = [at - n * 10**9 // RATE_PER_S for n, at in enumerate(stamps)]
    return [(at - min(due)) / 1e6 for at in due]


def spent(stack: Stack) -> dict[str, float]:
    """CPU seconds of the processes on the way. The agents' and the client's are not ours."""
    assert stack.process is not None
    children = Path(f"/proc/{stack.process.pid}/task/{stack.process.pid}/children").read_text().split()
    runner = listener_pid(str(next(path for path in stack.sockets() if "runner" in path.name)))
    assert runner is not None
    return {"core": sum(cpu_s(int(pid)) for pid in children), "runner": cpu_s(runner)}


if __name__ == "__main__":
    main()
