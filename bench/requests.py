"""What the guard of an authenticated request costs. `python bench/requests.py [--requests 20000] [--hub PYTHON]`

The product's application gets two more routes with the same small answer, one guarded and one public, behind the
product's gate, guard, tokens and database. Granian with one worker, 32 kept
connections, a bounded number of requests in alternating rounds. CPU is user + system time of the server's process
from /proc, so the client and other programs hardly matter.

With `--hub PYTHON`, a Python that has jupyterhub, the same client asks a hub for `GET /hub/api/user`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop
from _figures import calm, claim, cpu_s, fact, family, middle, parser, put_tools_on_path, skip

from oqto_platform.testing.stack import Stack, free_port

GUARD_US, TIMES_HUB = 40, 10
CONNECTIONS, ROUNDS = 32, 5
HERE = Path(__file__).parent
HUB_CONFIG = """
from jupyterhub.proxy import Proxy
class NoProxy(Proxy):
    "The hub is asked at its own port."
    should_start = False
    async def get_all_routes(self): return {{}}
    async def add_route(self, *_): pass
    async def delete_route(self, *_): pass
c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.hub_port = {port}
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.log_level = "WARN"
c.JupyterHub.services = [{{"name": "bench", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "bench", "scopes": ["self", "list:users"], "services": ["bench"]}}]
"""


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--requests", type=int, default=20_000)
    asked.add_argument("--hub", default=os.environ.get("OQTO_BENCH_HUB", ""), metavar="PYTHON")
    options = asked.parse_args()
    put_tools_on_path()
    each = options.requests // ROUNDS
    with calm(is_ordinary=options.ordinary):
        per_s = ours(each)
        hub(options.hub, per_s, each)


def ours(each: int) -> float:
    """Cost of the guard, by difference; the guarded calls per second of CPU time."""
    command = ("granian", "--interface", "asgi", "--working-dir", str(HERE), "_guarded:app")
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), plugins=("sandbox",), command=command)
        stack.env |= {"GRANIAN_HOST": "127.0.0.1", "GRANIAN_PORT": str(stack.port), "PYTHONPATH": str(HERE)}
        with stack:
            stack.set_up()
            return uvloop.run(compare(stack, each))


async def compare(stack: Stack, each: int) -> float:
    head, worker = f"cookie: {stack.cookie()}\r\n", worker_of(stack)
    found: dict[str, list[float]] = {"/api/bench/open": [], "/api/bench/guarded": []}
    await load(stack.port, "/api/bench/guarded", head, 500)
    for _ in range(ROUNDS):
        for path, costs in found.items():
            costs.append(await cost_us([worker], load(stack.port, path, head, each), each))
    public, guarded = map(middle, found.values())
    note = f"{guarded:.0f} µs guarded, {public:.0f} µs public, {ROUNDS} rounds of {each} each"
    claim("guard, CPU per request", guarded - public, GUARD_US, "µs", note)
    return 1e6 / guarded


def worker_of(stack: Stack) -> int:
    assert stack.process is not None
    below = Path(f"/proc/{stack.process.pid}/task/{stack.process.pid}/children").read_text().split()
    return max(map(int, below), key=cpu_s)


async def cost_us(pids: list[int], requests: Awaitable[None], count: int) -> float:
    before = sum(map(cpu_s, pids))
    await requests
    return (sum(map(cpu_s, pids)) - before) / count * 1e6


@contextmanager
def running(argv: list[str], env: dict[str, str], log: object, cwd: Path) -> Iterator[int]:
    process = subprocess.Popen(argv, env=env, cwd=cwd, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(port: int, log: Path) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nobody listens on port {port}:\n{log.read_text()}")


async def load(port: int, path: str, head: str, count: int) -> None:
    """`count` requests over `CONNECTIONS` connections; each must be answered with 200."""
    request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{head}\r\n".encode()
    left = iter(range(count))
    await asyncio.gather(*(connection(port, request, left) for _ in range(CONNECTIONS)))


async def connection(port: int, request: bytes, left: Iterator[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in left:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
    writer.close()


def hub(python: str, per_s: float, each: int) -> None:
    """The same client against JupyterHub. Compared per second of the server's CPU time."""
    name = "authenticated calls per CPU second, times JupyterHub's"
    probe = [python or sys.executable, "-c", "import jupyterhub"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        skip(name, "jupyterhub is not installed; --hub PYTHON names a Python that has it")
        return
    count = max(200, each // 10)
    cost = uvloop.run(hub_cost_us(python or sys.executable, count))
    fact("JupyterHub, CPU per GET /hub/api/user", f"{cost:.0f} µs in {count} requests")
    claim(name, per_s / (1e6 / cost), TIMES_HUB, "times", at_least=True)


async def hub_cost_us(python: str, count: int) -> float:
    port, token = free_port(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "config.py").write_text(HUB_CONFIG.format(port=port, token=token))
        argv = [python, "-m", "jupyterhub", "-f", "config.py"]
        with (root / "log").open("w") as log, running(argv, dict(os.environ), log, root) as pid:
            wait_for(port, root / "log")
            head = f"authorization: token {token}\r\n"
            await load(port, "/hub/api/user", head, 50)
            return await cost_us(family(pid), load(port, "/hub/api/user", head, count), count)


if __name__ == "__main__":
    main()
