"""The LLM proxy over time: memory through 200,000 calls and through ten minutes of 200 streams at once.

Run by `bench/eavs_limits.py --soak`, which is not part of its default run.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import eavs
import uvloop

CALLS = 200_000
STREAMS = 200
MINUTES = 10.0
WARM_MIN = 2.0
"""How long the sizes of buffers and tables may settle."""


def soak(bench, calls=CALLS, minutes=MINUTES):
    """Both soaks, one after the other."""
    over_calls(bench, calls)
    over_time(bench, minutes)


def over_calls(bench, calls, steps=20):
    """Memory after each twentieth of the calls; the first fifth warms up."""
    request, sizes, started = bench.request("plain", is_stream=False), [], time.monotonic()
    for _ in range(steps):
        uvloop.run(_plain(bench.ports["proxy"], request, 32, calls // steps))
        sizes.append(eavs.resident_mb(bench.proxy.pid))
    settled = sizes[steps // 5 :]
    slope = _slope(range(len(settled)), settled) * steps
    took = time.monotonic() - started
    print(
        f"{calls} calls in {took:.0f} s: {sizes[0]:.1f} MB, {settled[0]:.1f} settled, {sizes[-1]:.1f} at the end;"
        f" slope {slope:+.2f} MB per {calls} calls (limit: flat)",
        flush=True,
    )


def over_time(bench, minutes):
    """Streams that follow each other without a pause, and the slope of memory once warm."""
    samples = uvloop.run(_streams(bench, minutes))
    warm = [(at, size) for at, size in samples if at >= WARM_MIN] or samples
    slope = _slope(*zip(*warm, strict=True))
    print(
        f"{minutes:g} min of {STREAMS} streams: {samples[0][1]:.1f} MB, {warm[0][1]:.1f} warm, {samples[-1][1]:.1f} at"
        f" the end; slope {slope:+.3f} MB per minute (limit 1)",
        flush=True,
    )


async def _plain(port, request, clients, calls):
    await asyncio.gather(*(eavs.client(port, request, calls // clients, []) for _ in range(clients)))


async def _streams(bench, minutes):
    until, samples, started = time.monotonic() + minutes * 60, [], time.monotonic()
    request = bench.request("plain", is_stream=True)

    async def follow():
        while time.monotonic() < until:
            await eavs.client(bench.ports["proxy"], request, 5, [])

    following = [asyncio.create_task(follow()) for _ in range(STREAMS)]
    while time.monotonic() < until:
        await asyncio.sleep(5)
        samples.append(((time.monotonic() - started) / 60, eavs.resident_mb(bench.proxy.pid)))
    await asyncio.gather(*following)
    return samples


def _slope(xs, ys):
    return statistics.linear_regression(list(xs), list(ys)).slope
