"""How fast a follower catches up, and how soon it sees a new event. `python bench/followers.py`

Prints one line each, with a ratio to the limit (below 1 is within it). The log, its files and the
runner's door are the real ones, in two processes: this one appends and serves, a child reads.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import uvloop
from oqto_runner.eventlog import EventLog
from oqto_runner.logs import Logs
from oqto_runner.server import Server
from oqto_runner.store import SessionFolder

from oqto_platform import wire
from oqto_platform.canon import MessageStart, TextDelta

EVENTS = 100_000
REPLAY_LIMIT_PER_S = 50_000
LATENCY_LIMIT_MS = {1: 2.0, 50: 20.0}
RATE_PER_S = 100
SECONDS = 5


class Answers:
    """The part of the runner that a follower needs."""

    def __init__(self, logs: Logs) -> None:
        self.sessions = self
        self._logs = logs

    async def follow(self, session_id, after):
        events = self._logs.take(session_id)
        try:
            async for chunk in events.follow(after):
                yield chunk
        finally:
            await self._logs.give_back(session_id, events)


async def serve(folder):
    logs = Logs(folder, "bench")
    server = Server(Answers(logs), frozenset({os.getuid()}))
    listener = await asyncio.start_unix_server(server.serve, str(folder / "s"), limit=wire.LIMIT)
    return logs, server, listener


def new_log(folder, logs, name) -> EventLog:
    SessionFolder(folder, name).make()
    return logs.take(name)


async def replay(folder, logs):
    log = new_log(folder, logs, "long")
    log.append(MessageStart(message_id="m"))
    for _ in range(EVENTS // 100):
        log.append(*(TextDelta(message_id="m", delta="hello dear world ") for _ in range(100)))
    seconds = float(await child(folder, "replay", log.last))
    rate = log.last / seconds
    tell("replay", f"{rate:,.0f} events/s", REPLAY_LIMIT_PER_S / rate)


async def latency(folder, logs, server, sessions):
    names = [f"s{sessions}-{n}" for n in range(sessions)]
    opened = [new_log(folder, logs, name) for name in names]
    for log in opened:
        log.append(MessageStart(message_id="m"))
    reader = asyncio.ensure_future(child(folder, "latency", sessions))
    while len(server._connections) < sessions:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    await asyncio.gather(*(speak(log, n / sessions / RATE_PER_S) for n, log in enumerate(opened)))
    p50, p99 = map(float, (await reader).split())
    limit = LATENCY_LIMIT_MS[sessions]
    tell(f"append to read, {sessions} sessions", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms", p99 / limit)


async def speak(log, offset_s):
    begun = time.monotonic() + offset_s
    for n in range(RATE_PER_S * SECONDS):
        await asyncio.sleep(max(0.0, begun + n / RATE_PER_S - time.monotonic()))
        log.append(TextDelta(message_id="m", delta=str(time.monotonic_ns())))


def tell(what, figure, ratio):
    print(f"{what}: {figure}, {ratio:.2f} of the limit", flush=True)


async def child(folder, what, number):
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, what, str(folder), str(number), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(120):
        out, _ = await process.communicate()
    return out.decode()


async def read_replay(path, last):
    begun = time.perf_counter()
    async with wire.connect(path, None) as (reader, writer):
        writer.write(wire.encode(wire.Follow(session_id="long", after=1)) + b"\n")
        await wire.read_reply(reader)
        left = last - 1
        while left > 0:
            left -= (await reader.read(2**20)).count(b"\n")
    print(time.perf_counter() - begun)


async def read_latency(path, sessions):
    delays = []
    await asyncio.gather(*(read_one(path, f"s{sessions}-{n}", delays) for n in range(sessions)))
    print(statistics.median(delays), statistics.quantiles(delays, n=100)[98])


async def read_one(path, session_id, delays):
    async with wire.connect(path, None) as (reader, writer):
        writer.write(wire.encode(wire.Follow(session_id=session_id, after=1)) + b"\n")
        await wire.read_reply(reader)
        for _ in range(RATE_PER_S * SECONDS):
            line = await reader.readline()
            delays.append((time.monotonic_ns() - int(msgspec.json.decode(line)["delta"])) / 1e6)


async def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        logs, server, listener = await serve(folder)
        await replay(folder, logs)
        for sessions in LATENCY_LIMIT_MS:
            await latency(folder, logs, server, sessions)
        listener.close()
        await server.close()
        await logs.close()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        uvloop.run(main())
    else:
        what, folder, number = sys.argv[1:]
        reads = {"replay": read_replay, "latency": read_latency}[what]
        uvloop.run(reads(str(Path(folder) / "s"), int(number)))
