"""How fast 100,000 events of a session are replayed. `python bench/replay.py [--events 100000] [--runs 5]`

A real session whose agent (harness `echo`, told to flood) wrote them. Then a reader asks for everything after the
first event, exactly: once at the runner's socket alone, once as a browser does, through core and WebSocket,
with `lines` (events that wait together share a frame) and without. From the request to the last event; reading costs this process next to nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import uvloop
from _browser import connect
from _figures import claim, fact, middle, put_tools_on_path

from oqto_platform import wire
from oqto_platform.testing.stack import Stack

PER_S = 50_000
EVENT = b'"event":"stream.text_delta"'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    put_tools_on_path()
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), plugins=("sandbox",)) as stack:
        stack.set_up()
        uvloop.run(measure(stack, options.events, options.runs))


async def measure(stack: Stack, events: int, runs: int) -> None:
    session_id = stack.start_session(harness="echo")["id"]
    await flood(stack, session_id, events)
    alone: list[float] = []
    single: list[float] = []
    lines: list[float] = []
    for _ in range(runs):
        alone.append(events / await read_runner(stack, session_id, events))
        single.append(events / await read_browser(stack, session_id, events, lines=False))
        lines.append(events / await read_browser(stack, session_id, events, lines=True))
    claim("replay, runner alone", middle(alone), PER_S, "events/s", f"{events} events", at_least=True)
    claim("replay, runner to browser", middle(lines), PER_S, "events/s", f"{events} events", at_least=True)
    fact("  the same, each event in a frame of its own", f"{middle(single):,.0f} events/s")
    stack.client.post(f"/api/sessions/{session_id}/stop").raise_for_status()


async def flood(stack: Stack, session_id: str, events: int) -> None:
    browser = await connect(stack.url, stack.cookie())
    await browser.ask(session_id, "subscribe", after=0)
    idle = browser.wait_for(b'"agent.idle"')
    browser.send(0, session_id, "prompt", message=f"flood {events}")
    await browser.until(idle)
    browser.close()


async def read_runner(stack: Stack, session_id: str, events: int) -> float:
    path = str(next(path for path in stack.sockets() if "runner" in path.name))
    begun = time.perf_counter()
    async with wire.connect(path, None) as (reader, writer):
        writer.write(wire.encode(wire.Follow(session_id=session_id, after=1)) + b"\n")
        await wire.read_reply(reader)
        data = bytearray()
        async with asyncio.timeout(120):
            while b'"agent.idle"' not in data[-4096:]:
                data += await reader.read(2**20)
    took_s = time.perf_counter() - begun
    assert data.count(EVENT) == events, data.count(EVENT)
    return took_s


async def read_browser(stack: Stack, session_id: str, events: int, *, lines: bool) -> float:
    browser = await connect(stack.url, stack.cookie())
    browser.chunks.clear()
    idle = browser.wait_for(b'"agent.idle"')
    begun = time.perf_counter()
    browser.send(0, session_id, "subscribe", after=1, lines=lines)
    await browser.until(idle)
    took_s = time.perf_counter() - begun
    browser.close()
    found = b"".join(data for _, data in browser.chunks).count(EVENT)
    assert found == events, found
    return took_s


if __name__ == "__main__":
    main()
