"""
A small real agent: reads JSON lines, repeats what it is told, misbehaves when it is asked to.

The prompt's first word chooses. `stream N RATE` writes N pieces at RATE per second; `clock N RATE` does so
with each piece the machine's monotonic nanoseconds at the moment it is written; `run PROGRAM ARGUMENTS` lets
a program write the pieces; `tool SECONDS` runs a tool that reports progress; `ask` asks the person;
`title TEXT`; `spawn [hidden|bare]` leaves a child behind (hidden: double-forked, in its own session, deaf to
SIGTERM; bare: and another program with an empty environment); `crash CODE`; `kill`; `hang` (deaf to
everything); `flood N` writes N pieces at once; `long BYTES` one line; `noise` writes what is no JSON;
`stderr TEXT`; `env NAME`; `mute` stops reading. Anything else is echoed word by word. With `ECHO_FAIL` in
its environment it says those words on stderr and does not start.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time

inbox: queue.Queue[dict[str, str]] = queue.Queue()
aborted = threading.Event()
deaf = threading.Event()
muted = threading.Event()


def say(kind: str, **fields: object) -> None:
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False).encode() + b"\n"
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def listen() -> None:
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message["type"] == "abort":
            aborted.set()
        else:
            inbox.put(message)
        if muted.is_set():
            time.sleep(3600)
    if not deaf.is_set():
        os._exit(0)


def pieces(texts: list[str], delay_s: float = 0.0) -> None:
    say("begin")
    said = []
    for text in texts:
        if aborted.wait(delay_s) if delay_s else aborted.is_set():
            break
        say("delta", text=text)
        said.append(text)
    say("end", text="".join(said), aborted=aborted.is_set())


def clock(count: int, rate: float) -> None:
    """As cheap as it can be: it serves to measure others, on the same processors."""
    say("begin")
    said = []
    begun = time.monotonic()
    for n in range(count):
        time.sleep(max(0.0, begun + n / rate - time.monotonic()))
        if aborted.is_set():
            break
        now = b"%d " % time.monotonic_ns()
        os.write(1, b'{"type":"delta","text":"%s"}\n' % now)
        said.append(now)
    say("end", text=b"".join(said).decode(), aborted=aborted.is_set())


def run(command: list[str]) -> None:
    """The program writes whole lines to our stdout, with nothing of ours in between."""
    say("begin")
    pid = os.spawnv(os.P_NOWAIT, command[0], command)  # noqa: S606 - there is no shell in the way
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if aborted.wait(0.2):
            os.kill(pid, signal.SIGTERM)
    say("end", text="done", aborted=aborted.is_set())


def tool(seconds: float) -> None:
    say("tool", name="wait", input={"seconds": seconds})
    steps = max(1, int(seconds / 0.05))
    for step in range(steps):
        if aborted.wait(seconds / steps):
            break
        say("progress", output=f"{step + 1} of {steps}")
    say("tool_end", output="done", error=aborted.is_set())


def spawn(how: str) -> int:
    """A child that stays; returns its pid. `hidden` cuts every tie that a parent could follow, `bare` all."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        if how:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(write, str(os.getpid()).encode())
        for fd in range(0 if how else 3, 256):
            try:
                os.close(fd)
            except OSError:
                continue
        if how == "bare":
            os.execve("/bin/sleep", ["sleep", "600"], {})  # noqa: S606 (no shell is the point)
        while True:
            time.sleep(60)
    pid = int(os.read(read, 32))
    os.close(read)
    os.close(write)
    if how:
        os.waitpid(child, 0)
    return pid


def hang() -> None:
    deaf.set()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("begin")
    say("delta", text="I do not move")
    time.sleep(3600)


def misbehave(word: str, rest: str) -> bool:
    match word:
        case "crash":
            sys.stderr.write("crashing as asked\n")
            sys.stderr.flush()
            os._exit(int(rest or "1"))
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            hang()
        case "noise":
            sys.stdout.buffer.write(b'this is no JSON\n{"half": \n\xff\xfe\n\n')
        case "stderr":
            sys.stderr.write(rest + "\n")
            sys.stderr.flush()
        case "long":
            sys.stdout.buffer.write(b"x" * int(rest) + b"\n")
        case "mute":
            muted.set()
        case _:
            return False
    return True


def stream(word: str, rest: str) -> bool:
    match word, rest.split():
        case "stream", [count, rate]:
            pieces([f"{n} " for n in range(int(count))], 1 / float(rate))
        case "clock", [count, rate]:
            clock(int(count), float(rate))
        case "flood", [count]:
            pieces([f"{n} " for n in range(int(count))])
        case "run", [_, *_] as command:
            run(command)
        case _:
            return False
    return True


def act(text: str) -> None:
    word, _, rest = text.partition(" ")
    if misbehave(word, rest):
        pieces(["done"])
        return
    if stream(word, rest):
        return
    match word:
        case "tool":
            tool(float(rest))
            pieces(["done"])
        case "ask":
            say("ask", title="Go on?")
            pieces([f"you said {inbox.get()['text']}"])
        case "title":
            say("title", text=rest)
            pieces([rest])
        case "spawn":
            pieces([str(spawn(rest))])
        case "env":
            pieces([os.environ.get(rest, "(not set)")])
        case _:
            pieces([part for part in text.split(" ") for part in (part + " ",)])


def main() -> None:
    if words := os.environ.get("ECHO_FAIL"):
        sys.stderr.write(words + "\n")
        sys.exit(7)
    threading.Thread(target=listen, daemon=True).start()
    say("ready")
    while True:
        message = inbox.get()
        aborted.clear()
        act(message["text"])
        say("idle")


if __name__ == "__main__":
    main()
