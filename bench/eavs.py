"""What a call through the LLM proxy costs, against nginx as a plain reverse proxy in the same run.

    python bench/eavs.py [--calls 20000] [--streams 1024] [--rounds 9]

CPU per call comes from /proc (time on a CPU of the process tree), and proxy and nginx take turns within a few
seconds; the medians of the rounds count. On a busy machine both numbers grow, so read the ratios. The proxies are bound
to one core; the clients and the provider, which are `peer.c`, to another, so that they take nothing of the first. Our
proxy checks a key, sets money aside on disk, meters, prices and writes a durable row for each call; nginx only forwards.

The processors are kept awake (`_figures.awake`): a virtual machine pays for each sleep with a way through its host, which
the kernel books as processor time of whoever sleeps, and that is whoever waits for the disk. What the host took all the
same is told: what others leave of caches makes every call dearer, ours more than those of nginx. So does the Python: one
that was built with optimisation by profile, as Debian's, takes 6 % less than a plain build.

Two lines have a limit: plain calls as fast as each can, where nginx never sleeps and we wait for the disk; and streams
whose words come at times of their own, as those of agents that know nothing of each other. Below each stands the other
way: plain calls at about the same pace for both, because the provider takes up to 20 ms, as models do and longer; and
streams whose words all come in the same instants, as far as the clients begin together.

Where the program `litellm` is on the PATH it takes part, with one worker and without a database. Everything stays on the
loopback.
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

from _figures import Host, awake
from oqto_plugin_eavs import control
from oqto_plugin_eavs.providers import ModelCost, Provider

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


PACE_US = 20_000
WORDS = 20
CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE, PEER_CORE = CORES[0], CORES[-1]


def on(core, argv, **options):
    """A process, with all its threads and children, on one core, or on those of a set."""
    cores = core if isinstance(core, set) else {core}
    return subprocess.Popen(argv, preexec_fn=lambda: os.sched_setaffinity(0, cores), **options)


def built_peer(folder):
    """The provider and the clients, which are `peer.c`: light, so that the machine is left to the proxies."""
    if (compiler := shutil.which("cc")) is None:
        raise SystemExit("no C compiler (cc) is here; provider and clients of this bench are peer.c")
    source = Path(__file__).with_name("peer.c")
    subprocess.run([compiler, "-O2", "-o", folder / "peer", source], check=True)
    return str(folder / "peer")


def serve_peer(peer, port):
    return on(PEER_CORE, [peer, "serve", str(port)])


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


def request_for(path, key, *, is_stream, spread_us=0):
    """`spread_us`: see `peer.c`; it goes as the `user`, which every proxy passes on."""
    stream, text = b"true" if is_stream else b"false", b"x" * 1000
    body = (
        b'{"model":"m","max_tokens":100,"stream":%s,"user":"%d","messages":[{"role":"user","content":"%s"}]}'
    )
    body %= (stream, spread_us, text)
    head = f"POST {path}/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def load(peer, port, request, *, clients, calls, spread_us=0):
    """Calls of `clients` at once; each begins within `spread_us`. What `peer.c` says of them."""
    argv = [peer, "load", str(port), str(clients), str(calls), str(spread_us)]
    process = on(PEER_CORE, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    told, _ = process.communicate(request)
    if process.returncode:
        raise SystemExit(f"the clients ended with {process.returncode}")
    return json.loads(told)


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
        f"{name}: oqto-eavs {median(eavs, 'us'):.0f} µs CPU per call, nginx {median(nginx, 'us'):.0f},"
        f" ratio {ratio:.2f};"
        f" p50 {median(eavs, 'p50_ms'):.1f} / {median(nginx, 'p50_ms'):.1f} ms;"
        f" {median(eavs, 'per_s'):.0f} / {median(nginx, 'per_s'):.0f} calls/s;"
        f" host took {median(eavs, 'host'):.0%} / {median(nginx, 'host'):.0%}",
        flush=True,
    )


def run(folder, ports, asked):
    peer, running = built_peer(folder), {}
    try:
        running["upstream"] = serve_peer(peer, ports["upstream"])
        running["eavs"] = start_eavs(folder, ports["eavs"])
        running["nginx"] = start_nginx(folder, ports["nginx"], ports["upstream"])
        for address in [*(("127.0.0.1", port) for port in ports.values()), str(folder / "control.sock")]:
            wait_for(address)
        contest = Contest(folder, peer, ports, {name: process.pid for name, process in running.items()})
        compare(contest, asked)
        if program := shutil.which("litellm"):
            ports["litellm"] = free_port()
            running["litellm"] = start_litellm(program, folder, ports)
            wait_for(("127.0.0.1", ports["litellm"]), 120)
            contest.pids["litellm"] = running["litellm"].pid
            beside_litellm(contest)
    finally:
        for process in reversed(running.values()):
            process.terminate()
            process.wait(5)


def start_eavs(folder, port, *more, cores=PROXY_CORE):
    argv = [sys.executable, "-m", "oqto_plugin_eavs", "serve", "--state-dir", str(folder)]
    return on(cores, [*argv, "--listen", f"127.0.0.1:{port}", *more], stderr=subprocess.DEVNULL)


def provider(name, port):
    """How our proxy knows the provider on `port`, with a price."""
    url, prices = f"http://127.0.0.1:{port}/v1", {"m": ModelCost(input=3, output=15)}
    kind = "openai-compatible"
    return Provider(name=name, kind=kind, base_url=url, models=("m",), api_key="sk-real", prices=prices)


def start_nginx(folder, port, upstream):
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, upstream=upstream))
    return on(PROXY_CORE, [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(config)])


def start_litellm(program, folder, ports):
    """One worker, nothing logged, its price list from its package and not from the network."""
    url = f"http://127.0.0.1:{ports['upstream']}/v1"
    model = {"model": "openai/m", "api_base": url, "api_key": "sk-real"}
    config = folder / "litellm.json"  # JSON is YAML
    config.write_text(json.dumps({"model_list": [{"model_name": "m", "litellm_params": model}]}))
    argv = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(ports["litellm"])]
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": "sk-bench"}
    return on(
        PROXY_CORE,
        [*argv, "--telemetry", "False"],
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


class Contest:
    """The proxies before one provider, and a key of ours."""

    def __init__(self, folder, peer, ports, pids):
        self.control, self.peer, self.ports, self.pids = str(folder / "control.sock"), peer, ports, pids
        self.ask(control.SetProvider(provider=provider("up", ports["upstream"]), probe=False))
        self.key = self.ask(control.Mint(session_id="s", account_id="a")).key

    def ask(self, request):
        return asyncio.run(control.ask(self.control, request))

    def rounds(self, other, count, shape, **theirs):
        """Ours and another's turn by turn."""
        ours = {"key": self.key, "path": "/p/up/v1"}
        return [
            (self.measure("eavs", shape, **ours), self.measure(other, shape, **(theirs or ours)))
            for _ in range(count)
        ]

    def measure(self, name, shape, *, key, path):
        """CPU µs and the rest of a call, once as many were made as there are clients."""
        shape = dict(shape)
        is_stream, spread_us = shape.pop("is_stream"), shape.get("spread_us", 0)
        request = request_for(path, key, is_stream=is_stream, spread_us=spread_us)
        load(self.peer, self.ports[name], request, **{**shape, "calls": shape["clients"]})
        before = cpu_s(self.pids[name])
        with Host() as host:
            found = load(self.peer, self.ports[name], request, **shape)
        spent = cpu_s(self.pids[name]) - before
        return {
            "host": host.took(0, time.monotonic_ns()),
            "us": spent / found["calls"] * 1e6,
            "p50_ms": found["call_p50_ms"],
            "per_s": found["calls"] / found["seconds"],
        }


def compare(contest, asked):
    idle = resident_mb(contest.pids["eavs"])
    streams = {"clients": 256, "calls": asked.streams, "is_stream": True}
    plain = {"clients": 32, "calls": asked.calls, "is_stream": False}
    tell("plain, 32 at once (limit 4.5)", contest.rounds("nginx", asked.rounds, plain))
    slow = {**plain, "calls": asked.calls // 4, "spread_us": PACE_US}
    tell("  the same, the provider takes up to 20 ms", contest.rounds("nginx", asked.rounds, slow))
    spread = {**streams, "spread_us": PACE_US}
    tell("paced stream of 22 chunks, 256 at once (limit 2)", contest.rounds("nginx", asked.rounds, spread))
    tell("  the same, their words in the same instants", contest.rounds("nginx", asked.rounds, streams))
    rows = contest.ask(control.Report(by="model")).rows[0]
    expected = rows.calls * (10 * 3_000 + 20 * 15_000)
    memory = f"{idle:.0f} MB idle, {resident_mb(contest.pids['eavs']):.0f} MB after {rows.calls} calls"
    print(f"memory: {memory}; ledger exact: {rows.cost_nusd == expected}")


def beside_litellm(contest, rounds=3):
    """The same calls, far fewer of them: it takes a hundred times longer for each."""
    for name, shape in (
        ("plain, 32 at once (limit 100)", {"clients": 32, "calls": 320, "is_stream": False}),
        (
            "paced stream of 22 chunks, 32 at once (limit 25)",
            {"clients": 32, "calls": 64, "is_stream": True, "spread_us": PACE_US},
        ),
    ):
        found = contest.rounds("litellm", rounds, shape, key="sk-bench", path="/v1")
        own, other = zip(*found, strict=True)
        ratio = statistics.median(theirs["us"] / ours["us"] for ours, theirs in found)
        cost = f"oqto-eavs {median(own, 'us'):.0f} µs CPU per call, litellm {median(other, 'us'):.0f}"
        print(f"{name}: {cost}, {ratio:.0f} times as much")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--streams", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-eavs-"))
    try:
        with awake():
            run(folder, {name: free_port() for name in ("upstream", "eavs", "nginx")}, asked)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
