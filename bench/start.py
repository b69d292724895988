"""How long a session and a server take to start. `python bench/start.py [--runs 11]`

Session: `POST /api/sessions` until its 201 (a real pi, planned, confined by bubblewrap, its key minted and its
money set aside, ready to take a prompt) against a bare `pi --mode rpc` until its first `get_state` answer.
Interleaved; the bare one has the argv, the environment and a copy of the agent folder of a session's pi.

Server: from exec until `/health/live` answers, on a state folder that was used before, with the processor time that
this took the whole family of processes. And until it is open, when the API answers.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from _figures import calm, claim, cpu_s, fact, family, middle, parser, put_tools_on_path, skip

from oqto_platform.peers import listener_pid
from oqto_platform.testing.stack import Stack

SHARE_MS, SERVER_S = 60, 1.2
GIVE_UP_S = 60


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--runs", type=int, default=11)
    options = asked.parse_args()
    put_tools_on_path()
    with calm(is_ordinary=options.ordinary):
        sessions(options.runs)
        server("oqto serve", (), options.runs)
        server("granian oqto_platform.app", ("granian", "oqto_platform.app"), options.runs)


class Pi(NamedTuple):
    """How a session started pi: the same again, outside of everything, is the peer."""

    argv: list[str]
    env: dict[str, str]


def sessions(runs: int) -> None:
    if not (shutil.which("pi") and shutil.which("bwrap")):
        skip("session start", "pi or bubblewrap is not installed; make setup installs them")
        return
    bare, ours = [], []
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.set_up()
        pi = first_session(stack)  # makes folders and fills caches, for both
        for _ in range(runs):
            bare.append(start_bare(stack, pi))
            ours.append(start_session(stack))
    note = f"bare pi {middle(bare):.0f} ms, our share {middle(ours) - middle(bare):.0f} ms"
    claim(f"session start, bare pi + {SHARE_MS} ms", middle(ours), middle(bare) + SHARE_MS, "ms", note)


def first_session(stack: Stack) -> Pi:
    """Start a session, look at its pi, keep a copy of its agent folder, stop it."""
    session = stack.start_session(provider="demo", model="demo")
    runner = listener_pid(str(next(path for path in stack.sockets() if "runner" in path.name)))
    assert runner is not None
    # Its title hides how pi itself was called; the init process of its sandbox still has the words.
    init = next(pid for pid in family(runner) if environment(pid).get("OQTO_SESSION_ID"))
    words, env = Path(f"/proc/{init}/cmdline").read_text().split("\0")[:-1], environment(init)
    argv = words[next(place for place, word in enumerate(words) if word.endswith("/node")) :]
    shutil.copytree(env["PI_CODING_AGENT_DIR"], stack.root / "bare")
    stop(stack, session)
    await_rehearsal(stack)
    folder = str(stack.root / "bare")
    return Pi(
        argv,
        env | {"PI_CODING_AGENT_DIR": folder, "PI_CODING_AGENT_SESSION_DIR": f"{folder}/sessions"},
    )


def environment(pid: int) -> dict[str, str]:
    with contextlib.suppress(OSError):
        return dict(
            entry.split("=", 1) for entry in Path(f"/proc/{pid}/environ").read_text().split("\0")[:-1]
        )
    return {}


def await_rehearsal(stack: Stack) -> None:
    """The first session of a runner has pi's modules compiled; a bare pi keeps its own in /tmp."""
    deadline = time.monotonic() + GIVE_UP_S
    while not [path for path in stack.root.rglob("data/pi/*") if path.is_dir() and not path.suffix]:
        if time.monotonic() > deadline:
            raise SystemExit("pi's modules were not compiled")
        time.sleep(0.05)


def start_session(stack: Stack) -> float:
    begun = time.perf_counter()
    session = stack.start_session(provider="demo", model="demo")
    took_ms = (time.perf_counter() - begun) * 1e3
    stop(stack, session)
    return took_ms


def stop(stack: Stack, session: dict[str, Any]) -> None:
    stack.client.post(f"/api/sessions/{session['id']}/stop").raise_for_status()


def start_bare(stack: Stack, pi: Pi) -> float:
    begun = time.perf_counter()
    process = subprocess.Popen(
        pi.argv, env=pi.env, cwd=stack.workspace, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'{"id":"1","type":"get_state"}\n')
    process.stdin.flush()
    answer = next(json.loads(line) for line in process.stdout if b'"get_state"' in line)
    took_ms = (time.perf_counter() - begun) * 1e3
    process.kill()
    process.communicate()
    assert answer["success"], answer
    return took_ms


def server(name: str, command: tuple[str, ...], runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), command=command)
        stack.env |= {"GRANIAN_HOST": "127.0.0.1", "GRANIAN_PORT": str(stack.port)} if command else {}
        with stack:
            pass  # makes the database
        starts = [start_server(stack) for _ in range(runs)]
        first, cpu, is_open = map(list, zip(*starts, strict=True))
        note = f"from {min(first):.2f} to {max(first):.2f} s in {runs} runs; CPU {middle(cpu):.2f} s, least {min(cpu):.2f} s"
        claim(f"server start, {name}", middle(first), SERVER_S, "s", note)
        fact("  and open", f"after {middle(is_open):.2f} s, from {min(is_open):.2f} to {max(is_open):.2f} s")


def start_server(stack: Stack) -> tuple[float, float, float]:
    """Seconds to the first answer, processor seconds of all processes until then, seconds until it is open."""
    begun = time.perf_counter()
    stack.spawn()
    assert stack.process is not None
    try:
        wait_for_answer(stack, "/health/live", b" 200 ")
        first_s, spent_s = time.perf_counter() - begun, sum(cpu_s(pid) for pid in family(stack.process.pid))
        wait_for_answer(stack, "/api/me", b" 401 ")
        return first_s, spent_s, time.perf_counter() - begun
    finally:
        stack.stop()


def wait_for_answer(stack: Stack, path: str, status: bytes) -> None:
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", stack.port), 1) as probe:
            probe.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
            probe.settimeout(GIVE_UP_S)
            if status in probe.recv(64):
                return
        if stack.process is None or stack.process.poll() is not None:
            break
        time.sleep(0.005)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    main()
