"""The LLM proxy over time: memory through 200,000 calls and through ten minutes of 200 streams at once.

Run by `bench/eavs_limits.py --soak`, which is not part of its default run.
"""

from __future__ import annotations

import statistics
import threading
import time

import eavs

FILLING = 400_000
"""After so many calls SQLite's cache is full and Python's own pools have their size, which takes 4 MB."""
CALLS = 200_000
STREAMS = 200
MINUTES = 10.0
STREAM_S, SPREAD_US, SAMPLE_S = 0.42, 400_000, 5.0
"""How long a stream takes at least, within what time those of all clients begin, and how often memory is looked at."""
WARM_MIN = 2.0
"""How long the sizes of buffers and tables may settle."""


def soak(bench, calls=CALLS, minutes=MINUTES):
    """Both soaks, one after the other."""
    over_calls(bench, calls)
    over_time(bench, minutes)


def over_calls(bench, calls, steps=20):
    """Memory after each twentieth of the calls, once as many as `FILLING` have filled SQLite's cache."""
    bench.load(is_stream=False, clients=32, calls=FILLING)
    sizes, started = [eavs.resident_mb(bench.proxy.pid)], time.monotonic()
    for _ in range(steps):
        bench.load(is_stream=False, clients=32, calls=calls // steps)
        sizes.append(eavs.resident_mb(bench.proxy.pid))
    slope = _slope(range(len(sizes)), sizes) * steps
    took = time.monotonic() - started
    print(
        f"{calls} calls in {took:.0f} s, after {FILLING}: from {sizes[0]:.1f} to {sizes[-1]:.1f} MB;"
        f" slope {slope:+.2f} MB per {calls} calls (limit: flat)",
        flush=True,
    )


def over_time(bench, minutes):
    """Streams that follow each other without a pause, and the slope of memory once warm."""
    samples = _streams(bench, minutes)
    warm = [(at, size) for at, size in samples if at >= WARM_MIN] or samples
    slope = _slope(*zip(*warm, strict=True))
    print(
        f"{samples[-1][0]:.1f} min of {STREAMS} streams: {samples[0][1]:.1f} MB, {warm[0][1]:.1f} warm, {samples[-1][1]:.1f} at"
        f" the end; slope {slope:+.3f} MB per minute (limit 1)",
        flush=True,
    )


def _streams(bench, minutes):
    """Minutes and megabytes while streams follow each other without a pause; longer than asked where they are slow."""
    samples, started = [], time.monotonic()
    calls = int(STREAMS * minutes * 60 / STREAM_S)
    streams = threading.Thread(
        target=bench.load,
        kwargs={"is_stream": True, "clients": STREAMS, "calls": calls, "spread_us": SPREAD_US},
    )
    streams.start()
    while streams.is_alive():
        streams.join(SAMPLE_S)
        samples.append(((time.monotonic() - started) / 60, eavs.resident_mb(bench.proxy.pid)))
    return samples


def _slope(xs, ys):
    return statistics.linear_regression(list(xs), list(ys)).slope
