"""What the LLM proxy holds: open streams, a stalled reader, delay of chunks, memory over time, durable rows.

    python bench/eavs_limits.py [--streams 1000] [--calls 20000] [--workers 2] [--soak]

Everything stays on the loopback; the upstream is that of bench/eavs.py. Each line names its limit.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import eavs
import eavs_soak
import uvloop
from oqto_plugin_eavs import control
from oqto_plugin_eavs.providers import ModelCost, Provider

STALLED_S = 3.0


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
            self.transport.write(eavs.chunk(eavs.CHUNK * 100))


class Stamps(eavs.Upstream):
    """An upstream whose chunks say when they left."""

    def tell(self, left):
        if left:
            now = b"%d" % time.monotonic_ns()
            self.transport.write(eavs.chunk(eavs.CHUNK.replace(b'"word "', b'"@%s@"' % now)))
            asyncio.get_running_loop().call_later(eavs.PACE_S, self.tell, left - 1)
        else:
            super().tell(0)


async def upstream(port, kind):
    protocol = {"flood": Flood, "stamps": Stamps, "plain": eavs.Upstream}[kind]
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


class Bench:
    """A proxy and its upstreams, with a key."""

    def __init__(self, folder, workers=1):
        self.folder, self.workers, self.processes = folder, workers, []
        self.ports = {name: eavs.free_port() for name in ("proxy", "plain", "flood", "stamps")}

    def __enter__(self):
        for kind in ("plain", "flood", "stamps"):
            argv = [sys.executable, __file__, "--upstream", f"{kind}:{self.ports[kind]}"]
            self.processes.append(subprocess.Popen(argv))
        self.start()
        for kind in ("plain", "flood", "stamps"):
            eavs.wait_for(("127.0.0.1", self.ports[kind]))
            url = f"http://127.0.0.1:{self.ports[kind]}/v1"
            cost = {"m": ModelCost(input=3, output=15)}
            provider = Provider(
                name=kind, kind="openai-compatible", base_url=url, models=("m",), api_key="k", prices=cost
            )
            self.ask(control.SetProvider(provider=provider, probe=False))
        self.key = self.ask(control.Mint(session_id="s", account_id="a")).key
        return self

    def start(self):
        argv = ["-m", "oqto_plugin_eavs", "serve", "--state-dir", str(self.folder)]
        argv += ["--listen", f"127.0.0.1:{self.ports['proxy']}", "--workers", str(self.workers)]
        self.proxy = subprocess.Popen([sys.executable, *argv], stderr=subprocess.DEVNULL)
        eavs.wait_for(str(self.folder / "control.sock"))

    def __exit__(self, *_):
        for process in (self.proxy, *self.processes):
            process.terminate()
            process.wait(5)

    def ask(self, request):
        return asyncio.run(control.ask(str(self.folder / "control.sock"), request))

    def request(self, kind, *, is_stream):
        body = b'{"model":"m","max_tokens":100,"stream":%s,"messages":[]}' % (
            b"true" if is_stream else b"false"
        )
        head = (
            f"POST /p/{kind}/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.key}\r\n"
        )
        return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


async def stream(port, request, delays):
    """The words of one stream; each chunk's delay goes to `delays`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await reader.readuntil(b"\r\n\r\n")
    words = 0
    while size := int(await reader.readline(), 16):
        data, now = await reader.readexactly(size + 2), time.monotonic_ns()
        words += data.count(b'"delta"')
        if b"@" in data:
            delays.append((now - int(data.split(b"@")[-2])) / 1e6)
    writer.close()
    return words


async def many(port, request, count, delays):
    return await asyncio.gather(*(stream(port, request, delays) for _ in range(count)))


def open_streams(bench, count):
    words = uvloop.run(many(bench.ports["proxy"], bench.request("plain", is_stream=True), count, []))
    lost = sum(eavs.WORDS - found for found in words)
    print(f"{count} open streams: {lost} chunks lost (limit 0)")


def chunk_delay(bench):
    """Three ways take turns, so that a busy machine is as busy for each."""
    with nginx(bench) as port:
        request = bench.request("stamps", is_stream=True)
        ports = {"direct": bench.ports["stamps"], "proxy": bench.ports["proxy"], "nginx": port}
        found = {name: [] for name, port in ports.items() if port}
        for _ in range(7):
            for name, medians in found.items():
                delays = []
                uvloop.run(many(ports[name], request, 128, delays))
                medians.append(statistics.median(delays))
    later = {
        name: statistics.median(own - direct for own, direct in zip(medians, found["direct"], strict=True))
        for name, medians in found.items()
    }
    beside = f"; nginx {later['nginx']:.2f}" if "nginx" in later else ""
    print(
        f"a chunk under 128 streams: {later['proxy']:.2f} ms later than without a proxy, median of medians"
        f" (limit 0.5){beside}"
    )


@contextmanager
def nginx(bench):
    """nginx before the same upstream; 0 where there is none."""
    program, port = shutil.which("nginx") or shutil.which("/usr/sbin/nginx"), eavs.free_port()
    if program is None:
        yield 0
        return
    text = eavs.NGINX.format(folder=bench.folder, port=port, upstream=bench.ports["stamps"])
    (bench.folder / "nginx.conf").write_text(text)
    process = subprocess.Popen([program, "-c", f"{bench.folder}/nginx.conf"])
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
    request = bench.request("plain", is_stream=False)
    sizes = []
    for _ in range(5):
        uvloop.run(plain(bench.ports["proxy"], request, 32, calls // 5))
        sizes.append(eavs.resident_mb(bench.proxy.pid))
    slope = (sizes[-1] - sizes[1]) / (calls * 3 / 5) * 200_000
    print(
        f"memory over {calls} calls: {sizes[0]:.0f} to {sizes[-1]:.0f} MB; at this slope {slope:+.1f} MB over 200,000"
    )


def throughput(folder, workers, calls):
    """Calls per second through one process, and through several beside the owner of the ledger."""
    for count in (1, workers):
        place = folder / f"of-{count}"
        place.mkdir()
        with Bench(place, count) as bench:
            request = bench.request("plain", is_stream=False)
            uvloop.run(plain(bench.ports["proxy"], request, 64, calls // 4))
            before, started = eavs.cpu_s(bench.proxy.pid), time.perf_counter()
            done = uvloop.run(plain(bench.ports["proxy"], request, 64, calls))
            took = time.perf_counter() - started
            cpu = (eavs.cpu_s(bench.proxy.pid) - before) / done * 1e6
        print(f"{count} worker(s): {done / took:.0f} calls/s, {cpu:.0f} µs CPU per call in all processes")


async def plain(port, request, clients, calls):
    delays = []
    await asyncio.gather(*(eavs.client(port, request, calls // clients, delays) for _ in range(clients)))
    return len(delays)


async def until_killed(bench, finished):
    async def call():
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.ports["proxy"])
        try:
            while True:
                writer.write(bench.request("plain", is_stream=False))
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
                finished.append(1)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    callers = [asyncio.create_task(call()) for _ in range(64)]
    await asyncio.sleep(2.0)
    bench.proxy.kill()
    await asyncio.wait(callers)


def done_rows(bench):
    bench.ask(control.Report(by="model"))  # brings the journal into the ledger
    connection = sqlite3.connect(bench.folder / "ledger.db")
    (rows,) = connection.execute("SELECT count(*) FROM calls WHERE outcome = 'done'").fetchone()
    connection.close()
    return rows


def killed(bench):
    before, finished = done_rows(bench), []
    uvloop.run(until_killed(bench, finished))
    bench.proxy.wait()
    bench.start()
    lost = max(0, len(finished) - (done_rows(bench) - before))
    print(f"killed with -9 after {len(finished)} replies: {lost} rows lost (limit 0)")


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
    parser.add_argument("--upstream", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.upstream:
        kind, port = asked.upstream.split(":")
        uvloop.run(upstream(int(port), kind))
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
