"""What the LLM proxy holds: open streams, a stalled reader, delay of chunks, memory over time, durable rows.

    python bench/eavs_limits.py [--streams 1000] [--calls 20000] [--workers 2] [--soak]

Everything stays on the loopback; clients and provider are those of bench/eavs.py. Each line names its limit.

The delay of a chunk is from the provider's write to the client's read, less what it takes without a proxy. Each stream
has its own phase within the 20 ms between two words, by a seeded random number. Where all speak in the same instants,
which is told as well, a chunk waits in the queue of a burst: that says how much is sent at once, not how soon one comes.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import socket
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import eavs
import eavs_soak
import uvloop
from oqto_plugin_eavs import control

STALLED_S = 3.0
DELAYED = 128
KILL_S, MORE_THAN_COME = 2.0, 1_000_000
WORDS = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n' * 100


class Flood(asyncio.Protocol):
    """An upstream that sends as fast as it is let, without end."""

    def connection_made(self, transport):
        self.transport, self.is_open = transport, True

    def pause_writing(self):
        self.is_open = False

    def resume_writing(self):
        self.is_open = True
        self.pour()

    def data_received(self, data):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.transport.write(head)
        self.pour()

    def pour(self):
        while self.is_open and not self.transport.is_closing():
            self.transport.write(b"%x\r\n%s\r\n" % (len(WORDS), WORDS))


async def flood(port):
    server = await asyncio.get_running_loop().create_server(Flood, "127.0.0.1", port)
    await server.serve_forever()


class Bench:
    """A proxy and its upstreams, with a key."""

    def __init__(self, folder, workers=1):
        self.folder, self.workers, self.processes = folder, workers, []
        self.ports = {name: eavs.free_port() for name in ("proxy", "peer", "flood")}

    def __enter__(self):
        self.peer = eavs.built_peer(self.folder)
        self.processes.append(eavs.serve_peer(self.peer, self.ports["peer"]))
        argv = [sys.executable, __file__, "--flood", str(self.ports["flood"])]
        self.processes.append(eavs.on(eavs.PEER_CORE, argv))
        self.start()
        for name in ("peer", "flood"):
            eavs.wait_for(("127.0.0.1", self.ports[name]))
            self.ask(control.SetProvider(provider=eavs.provider(name, self.ports[name]), probe=False))
        self.key = self.ask(control.Mint(session_id="s", account_id="a")).key
        return self

    def start(self):
        more = ["--workers", str(self.workers)]
        cores = {eavs.PROXY_CORE} if self.workers == 1 else set(eavs.CORES)
        self.proxy = eavs.start_eavs(self.folder, self.ports["proxy"], *more, cores=cores)
        eavs.wait_for(str(self.folder / "control.sock"))

    def __exit__(self, *_):
        for process in (self.proxy, *self.processes):
            process.terminate()
            process.wait(5)

    def ask(self, request):
        return asyncio.run(control.ask(str(self.folder / "control.sock"), request))

    def request(self, name, **shape):
        return eavs.request_for(f"/p/{name}/v1", self.key, **shape)

    def load(self, *, is_stream, **shape):
        """Calls of the provider `peer` through the proxy; what the clients say of them."""
        request = self.request("peer", is_stream=is_stream)
        return eavs.load(self.peer, self.ports["proxy"], request, **shape)


def open_streams(bench, count):
    found = bench.load(is_stream=True, clients=count, calls=count)
    print(f"{count} open streams: {eavs.WORDS * count - found['words']} chunks lost (limit 0)")


def chunk_delay(bench):
    """Each stream with words at times of its own, as those of agents that know nothing of each other; then all at once."""
    with nginx(bench) as port:
        ports = {"direct": bench.ports["peer"], "proxy": bench.ports["proxy"], "nginx": port}
        ports = {name: port for name, port in ports.items() if port}
        spread, burst = later(bench, ports, eavs.PACE_US), later(bench, ports, 0)
    print(f"a chunk under {DELAYED} streams: {spread} (limit 0.5)")
    print(f"  their words in the same instants, so that it waits in the queue of a burst: {burst}")


def later(bench, ports, spread_us):
    """The ways take turns, so that a busy machine is as busy for each."""
    request = bench.request("peer", is_stream=True, spread_us=spread_us)
    found = {name: [] for name in ports}
    shape = {"clients": DELAYED, "calls": 2 * DELAYED, "spread_us": spread_us}
    for _ in range(7):
        for name, medians in found.items():
            medians.append(eavs.load(bench.peer, ports[name], request, **shape)["word_p50_ms"])
    direct = found.pop("direct")
    added = {
        name: statistics.median(own - floor for own, floor in zip(medians, direct, strict=True))
        for name, medians in found.items()
    }
    told = "; ".join(f"{name} {ms:.2f} ms later" for name, ms in added.items())
    return f"{told} than the {statistics.median(direct):.2f} of no proxy, medians of medians"


@contextmanager
def nginx(bench):
    """nginx before the same upstream; 0 where there is none."""
    program, port = shutil.which("nginx") or shutil.which("/usr/sbin/nginx"), eavs.free_port()
    if program is None:
        yield 0
        return
    process = eavs.start_nginx(bench.folder, port, bench.ports["peer"])
    try:
        eavs.wait_for(("127.0.0.1", port))
        yield port
    finally:
        process.terminate()
        process.wait(5)


def stalled_reader(bench):
    before = eavs.resident_mb(bench.proxy.pid)
    with socket.create_connection(("127.0.0.1", bench.ports["proxy"])) as client:
        client.sendall(bench.request("flood", is_stream=True))
        client.recv(1000)
        time.sleep(STALLED_S)
        grown = eavs.resident_mb(bench.proxy.pid) - before
    print(f"a reader that stalls for {STALLED_S:g} s: {grown:.1f} MB (limit 8)")


def memory(bench, calls):
    sizes = []
    for _ in range(5):
        bench.load(is_stream=False, clients=32, calls=calls // 5)
        sizes.append(eavs.resident_mb(bench.proxy.pid))
    print(f"memory over {calls} calls: {sizes[0]:.0f} to {sizes[-1]:.0f} MB (whether it is flat: --soak)")


def throughput(folder, workers, calls):
    """Calls per second through one process on one core, and through several beside the owner of the ledger on all."""
    for count in (1, workers):
        place = folder / f"of-{count}"
        place.mkdir()
        with Bench(place, count) as bench:
            bench.load(is_stream=False, clients=64, calls=calls // 4)
            before = eavs.cpu_s(bench.proxy.pid)
            found = bench.load(is_stream=False, clients=64, calls=calls)
            cpu = (eavs.cpu_s(bench.proxy.pid) - before) / found["calls"] * 1e6
        rate = found["calls"] / found["seconds"]
        print(f"{count} worker(s): {rate:.0f} calls/s, {cpu:.0f} µs CPU per call in all processes")


def until_killed(bench):
    """How many replies had ended when the proxy was killed."""
    stop = threading.Timer(KILL_S, bench.proxy.kill)
    stop.start()
    return bench.load(is_stream=False, clients=64, calls=MORE_THAN_COME)["calls"]


def done_rows(bench):
    bench.ask(control.Report(by="model"))  # brings the journal into the ledger
    connection = sqlite3.connect(bench.folder / "ledger.db")
    (rows,) = connection.execute("SELECT count(*) FROM calls WHERE outcome = 'done'").fetchone()
    connection.close()
    return rows


def killed(bench):
    before = done_rows(bench)
    finished = until_killed(bench)
    bench.proxy.wait()
    bench.start()
    lost = max(0, finished - (done_rows(bench) - before))
    print(f"killed with -9 after {finished} replies: {lost} rows lost (limit 0)")


async def rows_per_s(folder, count):
    """Accounting alone: rows opened and closed by 256 calls at once, durable each time."""
    from oqto_plugin_eavs.store import Store

    store = Store(folder / "rows.db")
    opened = ("w", "acc", "", "key", "p", "m", "chat", "p:m", 100, 1.0)
    closed = ("done", 200, 7, 0, 1, 0, 0, 0, 2, 0, 0, 2.0)

    async def caller(number):
        for at in range(count // 256):
            await store.open_row((f"r{number}-{at}", *opened))
            await store.close_row((f"r{number}-{at}", *closed))

    started = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(256)))
    took = time.perf_counter() - started
    await store.flush(30)
    whole = time.perf_counter() - started
    await store.close()
    done = count // 256 * 256
    print(
        f"accounting: {done / took:.0f} calls/s durable, {done / whole:.0f} with all of them in SQLite (limit 5000)"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2, help="beside one, how many are measured together")
    parser.add_argument("--soak", action="store_true", help="only the long ones: about a quarter of an hour")
    parser.add_argument("--flood", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.flood:
        uvloop.run(flood(asked.flood))
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-eavs-"))
    try:
        if asked.soak:
            with Bench(folder) as bench:
                eavs_soak.soak(bench)
            return
        uvloop.run(rows_per_s(folder, 20_000))
        with Bench(folder) as bench:
            print(f"memory idle: {eavs.resident_mb(bench.proxy.pid):.0f} MB (limit 70)")
            open_streams(bench, asked.streams)
            chunk_delay(bench)
            stalled_reader(bench)
            memory(bench, asked.calls)
            killed(bench)
        throughput(folder, asked.workers, asked.calls)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
