"""Pi (`@earendil-works/pi-coding-agent`) as a harness, in its RPC mode.

Written for 0.87.1 and tolerant of 0.74.2. Pi gets a private agent folder inside the session's home, so
the person's own `~/.pi` stays untouched; project settings (`.pi/` of a workspace) are not trusted,
because a cloned repository must not choose models or load code.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from oqto_platform.canon import Capabilities
from oqto_platform.errors import Conflict
from oqto_platform.types import Launch, Session, SpawnPlan
from oqto_runner.harness.pi.agent_dir import write_agent_dir
from oqto_runner.harness.pi.conversation import PiConversation
from oqto_runner.harness.pi.private import make_private_folder
from oqto_runner.harness.pi.program import Program, find_program
from oqto_runner.harness.pi.sessions import IN_USE, Lock, Shelf

__all__ = ["Pi"]

TRUST_SINCE = (0, 79)
"""From here on pi loads a project's `.pi/` only when told to; before, only its extensions can be kept out."""
FIXED_PATH = ("/usr/local/bin", "/usr/bin", "/bin")


class Pi:
    """The harness `pi`. One instance serves all sessions of a runner."""

    name = "pi"
    title = "Pi"
    capabilities = Capabilities(
        prompt_images=True,
        steer=True,
        follow_up=True,
        compact=True,
        fork=True,
        set_model=True,
        thinking=True,
        resume=True,
        commands=True,
        input_request_kinds=("select", "confirm", "input", "editor"),
    )

    def __init__(self) -> None:
        # Taken by `plan`, held by the conversation that follows it.
        self._locks: dict[Path, Lock] = {}

    def plan(self, session: Session, launch: Launch, home: Path) -> SpawnPlan:
        """Argv, environment and files of one pi; continues the conversation that `home` holds.

        Raises `AgentFailed` with the repair, `Conflict` when a pi works on this session already.
        """
        program = find_program()
        shelf = Shelf(home)
        self._lock(home, shelf)
        write_agent_dir(home / "pi", session, launch.sources, program.version)
        make_private_folder(shelf.folder)
        return SpawnPlan(
            argv=(
                str(program.node),
                str(program.script),
                "--mode",
                "rpc",
                *_untrusting(program),
                *_options(session, shelf),
            ),
            cwd=session.workspace,
            env=_environment(session, launch, home, program),
            readable=program.readable,
            writable=(str(home / "pi"),),
            relays=launch.relays,
        )

    def conversation(self, session: Session, launch: Launch, home: Path) -> PiConversation:
        """The talk with the process of `plan`; holds the session's lock until it is closed."""
        shelf = Shelf(home)
        return PiConversation(shelf, self._lock(home, shelf))

    def _lock(self, home: Path, shelf: Shelf) -> Lock:
        """The lock of a start that has not come to life yet, or a new one. Raises `Conflict`."""
        lock = self._locks.get(home)
        if lock is not None and lock.is_live:
            raise Conflict(IN_USE)
        if lock is None or not lock.is_held:
            lock = self._locks[home] = shelf.lock()
        return lock


def _untrusting(program: Program) -> tuple[str, ...]:
    return () if program.version >= TRUST_SINCE else ("--no-extensions",)


def _options(session: Session, shelf: Shelf) -> tuple[str, ...]:
    """The file to continue, or the model to begin with: a file remembers its own model."""
    current = shelf.current()
    if current is not None and current.exists():
        return ("--session", str(current))
    options: tuple[str, ...] = ("--session", str(current)) if current is not None else ()
    if session.provider:
        options += ("--provider", session.provider)
    if session.model:
        options += ("--model", session.model)
    return options


def _environment(session: Session, launch: Launch, home: Path, program: Program) -> dict[str, str]:
    person = pwd.getpwuid(os.getuid())
    return {
        "HOME": person.pw_dir,
        "USER": person.pw_name,
        "LOGNAME": person.pw_name,
        "SHELL": person.pw_shell or "/bin/bash",
        "PATH": ":".join(dict.fromkeys((*FIXED_PATH, str(program.node.parent)))),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        **launch.env,
        "OQTO_SESSION_ID": session.id,
        "PI_OFFLINE": "1",
        "PI_TELEMETRY": "0",
        "PI_SKIP_VERSION_CHECK": "1",
        "PI_CODING_AGENT_DIR": str(home / "pi"),
        "PI_CODING_AGENT_SESSION_DIR": str(home / "pi" / "sessions"),
    }
