"""The order of the steps, one line of output for each, and the lock that keeps two set-ups apart."""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from setup_steps import place
from setup_steps.shell import LOG, StepFailed


@dataclass(frozen=True)
class Step:
    """One thing to do. `stale` says why it must be done (empty: it need not), `act` does it."""

    name: str
    title: str
    stale: Callable[[], str]
    act: Callable[[], str | None]


def all_steps() -> list[Step]:
    from setup_steps import debian, frontend, node, python

    return [
        Step("debian", "Debian packages", debian.stale, debian.install),
        Step("venv", "virtual environment", python.VENV_STAMP.stale, python.make_venv),
        Step("uv", "uv", python.UV_STAMP.stale, python.install_uv),
        Step("packages", "Python packages", python.PACKAGES_STAMP.stale, python.install_packages),
        Step("members", "Oqto's own packages", python.MEMBERS_STAMP.stale, python.install_members),
        Step("node", "Node", node.NODE_STAMP.stale, node.provide_node),
        Step("pi", "pi coding agent", node.PI_STAMP.stale, node.install_pi),
        Step("opencode", "opencode, for tests", node.opencode_stale, node.install_opencode),
        Step(
            "npm", "packages of the user interface", frontend.PACKAGES_STAMP.stale, frontend.install_packages
        ),
        Step("ui", "user interface", frontend.BUILD_STAMP.stale, frontend.build),
    ]


def chosen_steps(only: Sequence[str]) -> list[Step]:
    steps = all_steps()
    unknown = set(only) - {step.name for step in steps}
    if unknown:
        sys.exit(f"setup: no step {min(unknown)!r}; there are: {', '.join(step.name for step in steps)}")
    return [step for step in steps if not only or step.name in only]


def plan(*, only: Sequence[str]) -> int:
    """Print each step with what would happen; touch nothing."""
    for step in chosen_steps(only):
        reason = step.stale()
        print(f"{step.name:9} {'would run: ' + reason if reason else 'up to date'}")
    return 0


def follow(*, only: Sequence[str]) -> int:
    """Do what is stale, in order; stop at the first failure with exit status 1."""
    with one_at_a_time():
        for step in chosen_steps(only):
            reason = step.stale()
            if reason and not do(step):
                return 1
    return 0


def do(step: Step) -> bool:
    print(f"setup: {step.title} … ", end="", flush=True)
    began = time.monotonic()
    try:
        note = step.act()
    except StepFailed as failure:
        print(f"failed after {time.monotonic() - began:.1f} s\n{failure}", flush=True)
        print(f"setup: stopped at {step.title!r}; the whole log is {LOG}. `make setup` goes on from here.")
        return False
    print(f"{note + ', ' if note else ''}{time.monotonic() - began:.1f} s", flush=True)
    return True


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the lock of this checkout; a second set-up waits and then finds everything done."""
    place.TOOLS.mkdir(exist_ok=True)
    with (place.TOOLS / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("setup: another set-up of this checkout is running, waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
