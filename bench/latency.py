"""How soon a browser sees what an agent wrote.
`python bench/latency.py [--seconds 5] [--sessions 1 50] [--ordinary]`

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

On a virtual machine it is also the wait for the host: a processor that it gives to others stands still in the middle
of whatever it did. So only those events count for the claims around which the host took no more than 2 % of the
processors, from 200 ms before they were written, since a backlog outlives its cause, to 100 ms after. All the others
are told besides. With less than 3 s of undisturbed time it measures again, four times at most; if that is still too
little, the machine cannot tell.

What is no software of ours is kept out where the system allows it (`_figures.calm`), and a line says so.
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
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path

import uvloop
from _browser import Browser, connect
from _figures import CPUS, Host, calm, claim, cpu_s, fact, middle, parser, percentile, put_tools_on_path, skip

from oqto_platform.peers import listener_pid
from oqto_platform.testing.stack import Stack

MEDIAN_MS, P99_MS = 3, 10
RATE_PER_S = 100
BEGIN_S = 1.0
"""Over so long the prompts are sent. Each session streams so much longer than it is measured, and a little more."""
HOST_SHARE, BEFORE_NS, AFTER_NS = 0.02, 200_000_000, 100_000_000
ENOUGH_S, ROUNDS = 3, 4

STAMP = re.compile(rb'"event":"stream.text_delta".{0,400}?"delta":"(\d+) ".{0,200}?"session_id":"([^"]+)"')

Delays = dict[bytes, list[tuple[int, float]]]
"""By session: monotonic ns of the write, and the milliseconds until it was seen."""


@dataclass
class Round:
    """What was seen while all sessions streamed once, and what it cost."""

    found: Delays
    host: Host
    cpu_s: dict[str, float]
    took_s: float

    @cached_property
    def since(self) -> int:
        """From when on every session streamed."""
        return max(events[0][0] for events in self.found.values())

    @cached_property
    def steady(self) -> list[tuple[int, float]]:
        """What was written while every session streamed."""
        until = min(events[-1][0] for events in self.found.values())
        return [(at, ms) for at, ms in chain(*self.found.values()) if self.since <= at <= until]

    @cached_property
    def undisturbed(self) -> list[float]:
        """Of these the milliseconds of those around which the host left the processors to us."""
        host = self.host
        return [ms for at, ms in self.steady if host.took(at - BEFORE_NS, at + AFTER_NS) <= HOST_SHARE]

    def others(self) -> float:
        """What all programs but those on the way took of the processors, from 0 to 1."""
        return (self.host.worked_s() - sum(self.cpu_s.values())) / (self.took_s * CPUS)

    def early(self) -> list[float]:
        return [ms for at, ms in chain(*self.found.values()) if at < self.since]

    def late(self) -> list[float]:
        return [ms for events in self.found.values() for ms in lateness([at for at, _ in events])]


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--seconds", type=int, default=5)
    asked.add_argument("--sessions", type=int, nargs="+", default=[1, 50])
    options = asked.parse_args()
    put_tools_on_path()
    with calm(is_ordinary=options.ordinary):
        run(options)


def run(options: argparse.Namespace) -> None:
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
    count = int((BEGIN_S + seconds + 0.5) * RATE_PER_S)
    for browsers in sorted({1, sessions}, reverse=True):
        ids = [stack.start_session(harness="echo")["id"] for _ in range(sessions)]
        await watched(stack, [ids[n::browsers] for n in range(browsers)], f"{writer} {count} {RATE_PER_S}")
        for session_id in ids:
            stack.client.post(f"/api/sessions/{session_id}/stop").raise_for_status()


async def watched(stack: Stack, watchers: list[list[str]], told: str) -> None:
    """All sessions stream; each watcher is one browser that follows some of them."""
    browsers = [await connect(stack.url, stack.cookie()) for _ in watchers]
    for browser, ids in zip(browsers, watchers, strict=True):
        for session_id in ids:
            await browser.ask(session_id, "subscribe", after=0, lines=True)  # as the web UI does
    rounds: list[Round] = []
    while len(rounds) < ROUNDS and undisturbed_s(rounds) < ENOUGH_S:
        rounds.append(await one_round(stack, browsers, watchers, told))
        assert len(rounds[-1].found) == sum(map(len, watchers)), "every session must have streamed"
    report(rounds, len(browsers))
    for browser in browsers:
        browser.close()


async def one_round(stack: Stack, browsers: list[Browser], watchers: list[list[str]], told: str) -> Round:
    before, begun = spent(stack), time.monotonic()
    gc.disable()  # a pause of the client is not the server's
    with Host() as host:
        await stream(browsers, watchers, told)
    gc.enable()
    took_s, after = time.monotonic() - begun, spent(stack)
    return Round(delays(browsers), host, {name: after[name] - before[name] for name in before}, took_s)


def undisturbed_s(rounds: list[Round]) -> float:
    """Events come at a fixed rate, so their number tells the time."""
    return sum(len(one.undisturbed) / len(one.found) for one in rounds) / RATE_PER_S


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


def report(rounds: list[Round], browsers: int) -> None:
    sessions = len(rounds[0].found)
    load = f"{numbered(sessions, 'session')} in {numbered(browsers, 'browser')}"
    counted = [ms for one in rounds for ms in one.undisturbed]
    name = f"stdout to browser, {load}, {RATE_PER_S} events/s each"
    if undisturbed_s(rounds) < ENOUGH_S:
        skip(name, f"the host left this machine less than {ENOUGH_S} s undisturbed")
    else:
        claim(f"{name}, median", middle(counted), MEDIAN_MS, "ms", f"{len(counted)} events")
        claim(f"{name}, p99", percentile(counted, 99), P99_MS, "ms", f"max {max(counted):.1f} ms")
    tell(load, rounds)


def numbered(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"


def tell(load: str, rounds: list[Round]) -> None:
    """The facts, which take everything in."""
    fact(f"  {load}, all events", spread([ms for one in rounds for _, ms in one.steady]))
    fact(f"  {load}, machine", machine(rounds))
    fact(f"  {load}, agents awake late by", spread([ms for one in rounds for ms in one.late()]))
    if early := [ms for one in rounds for ms in one.early()]:
        fact(f"  {load}, while they began", spread(early))
    fact(f"  {load}, CPU per event", cost(rounds))


def spread(times_ms: list[float]) -> str:
    return (
        f"median {middle(times_ms):.2f} ms, p99 {percentile(times_ms, 99):.1f} ms, max {max(times_ms):.1f} ms"
    )


def machine(rounds: list[Round]) -> str:
    """Who else used it. The agents are among the others: what they take is their model's and their tools'."""
    of_host = ", ".join(one.host.told() for one in rounds)
    of_others = ", ".join(f"{one.others():.0%}" for one in rounds)
    steady_s = sum(len(one.steady) / len(one.found) for one in rounds) / RATE_PER_S
    counted = f"{undisturbed_s(rounds):.1f} of {steady_s:.1f} s counted"
    return f"host took {of_host}; agents, others and what keeps processors awake {of_others}; {counted}"


def cost(rounds: list[Round]) -> str:
    events = sum(len(times) for one in rounds for times in one.found.values())
    per_event = {name: sum(one.cpu_s[name] for one in rounds) / events for name in rounds[0].cpu_s}
    shares = ", ".join(f"{name} {cpu_s * 1e6:.0f} µs" for name, cpu_s in per_event.items())
    return f"{shares}; {events / sum(one.took_s for one in rounds):,.0f} events/s"


def lateness(stamps: list[int]) -> list[float]:
    """Milliseconds by which each write missed its time, which no software of ours can help: how busy the machine is."""
    due = [at - n * 10**9 // RATE_PER_S for n, at in enumerate(stamps)]
    return [(at - min(due)) / 1e6 for at in due]


def spent(stack: Stack) -> dict[str, float]:
    """CPU seconds of the processes on the way and of the client. The agents' are not ours."""
    assert stack.process is not None
    children = Path(f"/proc/{stack.process.pid}/task/{stack.process.pid}/children").read_text().split()
    runner = listener_pid(str(next(path for path in stack.sockets() if "runner" in path.name)))
    assert runner is not None
    return {
        "core": sum(cpu_s(int(pid)) for pid in children),
        "runner": cpu_s(runner),
        "client": time.process_time(),
    }


if __name__ == "__main__":
    main()
