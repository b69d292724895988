"""What a call through the LLM proxy costs, against nginx as a plain reverse proxy in the same run.

    python bench/eavs.py [--calls 4000] [--streams 768] [--rounds 5]

CPU per call comes from /proc (time on a CPU of the process tree), and proxy and nginx take turns within a few
seconds; the medians of the rounds count. On a busy machine both numbers grow, so read the ratios. The proxy checks a key, sets money aside on disk, meters, prices and writes a durable row for
each call; nginx only forwards. Where the program `litellm` is on the PATH it takes part, with one worker and without
a database. Everything stays on the loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from oqto_plugin_eavs import control
from oqto_plugin_eavs.providers import ModelCost, Provider

WORDS = 20
PACE_S = 0.02
USAGE = b'"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}'
PLAIN = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
)
PLAIN += b'{"role":"assistant","content":"' + b"word " * 50 + b'"},"finish_reason":"stop"}],' + USAGE + b"}"
CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
LAST = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],'
    + USAGE
    + b"}\n\ndata: [DONE]\n\n"
)
NGINX = """
daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 1000000;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 512; }}
  server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ proxy_pass http://up; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_set_header Authorization "Bearer sk-real"; proxy_buffering off; }} }}
}}
"""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Upstream(asyncio.Protocol):
    """Answers every request; a body that asks for a stream gets a paced one."""

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            self.answer(b'"stream":true' in body)

    def answer(self, is_stream):
        if not is_stream:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(head % len(PLAIN) + PLAIN)
            return
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self.tell(WORDS)

    def tell(self, left):
        if left:
            self.transport.write(chunk(CHUNK))
            asyncio.get_running_loop().call_later(PACE_S, self.tell, left - 1)
        else:
            self.transport.write(chunk(LAST) + b"0\r\n\r\n")


async def upstream(port):
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(p for child in children for p in family(int(child)))]


def cpu_s(pid):
    threads = [task for member in family(pid) for task in Path(f"/proc/{member}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in threads) / 1e9


def resident_mb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


async def client(port, request, count, delays):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head[:16], head
        if b"chunked" in head.lower():
            await reader.readuntil(b"0\r\n\r\n")
        else:
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        delays.append(time.perf_counter() - started)
    writer.close()


async def load(port, key, *, clients, calls, is_stream, path="/p/up/v1"):
    stream = b"true" if is_stream else b"false"
    body = b'{"model":"m","max_tokens":100,"stream":%s,"messages":[{"role":"user","content":"%s"}]}' % (
        stream,
        b"x" * 1000,
    )
    head = f"POST {path}/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    request = (
        head.encode() + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )
    delays = []
    await asyncio.gather(*(client(port, request, calls // clients, delays) for _ in range(clients)))
    return sorted(delays)


def measure(pid, port, key, **shape):
    uvloop.run(load(port, key, **{**shape, "calls": shape["clients"]}))
    before, started = cpu_s(pid), time.perf_counter()
    delays = uvloop.run(load(port, key, **shape))
    spent, took = cpu_s(pid) - before, time.perf_counter() - started
    return {
        "us": spent / len(delays) * 1e6,
        "p50_ms": delays[len(delays) // 2] * 1e3,
        "per_s": len(delays) / took,
    }


def wait_for(address, seconds=20):
    family_of = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    for _ in range(50 * seconds):
        with socket.socket(family_of) as probe:
            if probe.connect_ex(address) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nobody listens on {address}")


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def tell(name, rounds):
    eavs, nginx = zip(*rounds, strict=True)
    ratio = statistics.median(own["us"] / floor["us"] for own, floor in rounds)
    print(
        f"{name}: oqto-eavs {median(eavs, 'us'):.0f} µs CPU per call, nginx {median(nginx, 'us'):.0f}, ratio {ratio:.2f};"
        f" p50 {median(eavs, 'p50_ms'):.1f} / {median(nginx, 'p50_ms'):.1f} ms;"
        f" {median(eavs, 'per_s'):.0f} / {median(nginx, 'per_s'):.0f} calls/s"
    )


def run(folder, ports, asked):
    processes = []
    try:
        argv = [sys.executable, __file__, "--upstream", str(ports["upstream"])]
        processes.append(subprocess.Popen(argv))
        serve = [
            "-m",
            "oqto_plugin_eavs",
            "serve",
            "--state-dir",
            str(folder),
            "--listen",
            f"127.0.0.1:{ports['eavs']}",
        ]
        processes.append(subprocess.Popen([sys.executable, *serve], stderr=subprocess.DEVNULL))
        (folder / "nginx.conf").write_text(
            NGINX.format(folder=folder, port=ports["nginx"], upstream=ports["upstream"])
        )
        processes.append(
            subprocess.Popen([shutil.which("nginx") or "/usr/sbin/nginx", "-c", f"{folder}/nginx.conf"])
        )
        for address in [*(("127.0.0.1", port) for port in ports.values()), str(folder / "control.sock")]:
            wait_for(address)
        compare(folder, ports, processes[1].pid, processes[2].pid, asked)
        if program := shutil.which("litellm"):
            processes.append(start_litellm(program, folder, ports["upstream"], port := free_port()))
            wait_for(("127.0.0.1", port), 120)
            beside_litellm(folder, ports, processes[1].pid, processes[-1].pid, port)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(5)


def start_litellm(program, folder, upstream, port):
    """One worker, nothing logged, its price list from its package and not from the network."""
    model = {"model": "openai/m", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-real"}
    config = folder / "litellm.json"  # JSON is YAML
    config.write_text(json.dumps({"model_list": [{"model_name": "m", "litellm_params": model}]}))
    argv = [
        program,
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--telemetry",
        "False",
    ]
    env = {
        **os.environ,
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MASTER_KEY": "sk-bench",
    }
    return subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def beside_litellm(folder, ports, eavs, litellm, port, rounds=3):
    """The same calls, far fewer of them: it takes a hundred times longer for each."""
    key = asyncio.run(
        control.ask(str(folder / "control.sock"), control.Mint(session_id="l", account_id="a"))
    ).key
    for name, shape in (
        ("plain, 32 at once", {"clients": 32, "calls": 320, "is_stream": False}),
        ("paced stream of 22 chunks, 32 at once", {"clients": 32, "calls": 64, "is_stream": True}),
    ):
        found = [
            (
                measure(eavs, ports["eavs"], key, **shape),
                measure(litellm, port, "sk-bench", **shape, path="/v1"),
            )
            for _ in range(rounds)
        ]
        own, other = zip(*found, strict=True)
        ratio = statistics.median(theirs["us"] / ours["us"] for ours, theirs in found)
        print(
            f"{name}: oqto-eavs {median(own, 'us'):.0f} µs CPU per call, litellm {median(other, 'us'):.0f}, {ratio:.0f} times as much"
        )


def compare(folder, ports, eavs, nginx, asked):
    path = str(folder / "control.sock")
    url, prices = f"http://127.0.0.1:{ports['upstream']}/v1", {"m": ModelCost(input=3, output=15)}
    provider = Provider(
        name="up", kind="openai-compatible", base_url=url, models=("m",), api_key="sk-real", prices=prices
    )
    asyncio.run(control.ask(path, control.SetProvider(provider=provider, probe=False)))
    key = asyncio.run(control.ask(path, control.Mint(session_id="s", account_id="a"))).key
    idle = resident_mb(eavs)
    for name, shape in (
        ("plain, 32 at once", {"clients": 32, "calls": asked.calls, "is_stream": False}),
        (
            "paced stream of 22 chunks, 256 at once",
            {"clients": 256, "calls": asked.streams, "is_stream": True},
        ),
    ):
        tell(
            name,
            [
                (
                    measure(eavs, ports["eavs"], key, **shape),
                    measure(nginx, ports["nginx"], key, **shape),
                )
                for _ in range(asked.rounds)
            ],
        )
    rows = asyncio.run(control.ask(path, control.Report(by="model"))).rows[0]
    expected = rows.calls * (10 * 3_000 + 20 * 15_000)
    print(
        f"memory: {idle:.0f} MB idle, {resident_mb(eavs):.0f} MB after {rows.calls} calls; ledger exact: {rows.cost_nusd == expected}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--streams", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--upstream", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.upstream:
        uvloop.run(upstream(asked.upstream))
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-eavs-"))
    try:
        run(folder, {name: free_port() for name in ("upstream", "eavs", "nginx")}, asked)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
