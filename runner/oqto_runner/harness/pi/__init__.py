"""Pi (`@earendil-works/pi-coding-agent`) as a harness, in its RPC mode.

Written for 0.87.1 and tolerant of 0.74.2. Pi gets a private agent folder inside the session's home, so
the person's own `~/.pi` stays untouched; project settings (`.pi/` of a workspace) are not trusted,
because a cloned repository must not choose models or load code.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from oqto_platform.canon import Capabilities
from oqto_platform.errors import Conflict
from oqto_platform.types import Launch, Session, SpawnPlan
from oqto_runner.harness.pi.agent_dir import write_agent_dir
from oqto_runner.harness.pi.compiled import CompiledCode
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
        conversations=True,
        input_request_kinds=("select", "confirm", "input", "editor"),
    )

    def __init__(self) -> None:
        # Taken by `plan`, held by the conversation that follows it.
        self._locks: dict[Path, Lock] = {}
        self._compiled: CompiledCode | None = None

    def keep_compiled_code(self, folder: Path) -> None:
        """Let sessions start from compiled modules below `folder`, a private one of the runner."""
        self._compiled = CompiledCode(folder)

    def rehearsal(self, workspace: str) -> SpawnPlan | None:
        """A pi that loads its modules, leaves them compiled and ends at the end of its input."""
        program = find_program()
        if self._compiled is None or self._compiled.of(program).exists():
            return None
        fresh = self._compiled.begin(program)
        return SpawnPlan(
            argv=_command(program),
            cwd=workspace,
            env=_environment(program, Path(workspace), {"NODE_COMPILE_CACHE": str(fresh)}),
            readable=program.readable,
            writable=(str(fresh),),
        )

    def keep_rehearsal(self) -> None:
        """The rehearsal ended well."""
        if self._compiled is not None:
            self._compiled.keep(find_program())

    def plan(self, session: Session, launch: Launch, home: Path) -> SpawnPlan:
        """Argv, environment and files of one pi; continues the conversation that `home` holds.

        Raises `AgentFailed` with the repair, `Conflict` when a pi works on this session already.
        """
        program = find_program()
        shelf = Shelf(home)
        self._lock(home, shelf)
        write_agent_dir(home / "pi", session, launch.sources, program.version)
        make_private_folder(shelf.folder)
        compiled = self._compiled_code(program)
        given = {**launch.env, "OQTO_SESSION_ID": session.id, **compiled}
        return SpawnPlan(
            argv=(*_command(program), *_options(session, shelf)),
            cwd=session.workspace,
            env=_environment(program, home / "pi", given),
            readable=(*program.readable, *compiled.values()),
            writable=(str(home / "pi"),),
            relays=launch.relays,
        )

    def _compiled_code(self, program: Program) -> dict[str, str]:
        folder = self._compiled.of(program) if self._compiled is not None else None
        return {"NODE_COMPILE_CACHE": str(folder)} if folder is not None and folder.exists() else {}

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


def _command(program: Program) -> tuple[str, ...]:
    untrusting = () if program.version >= TRUST_SINCE else ("--no-extensions",)
    return (str(program.node), str(program.script), "--mode", "rpc", *untrusting)


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


def _environment(program: Program, folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """`given` can name anything but the folder that pi keeps its own things in."""
    person = pwd.getpwuid(os.getuid())
    return {
        "HOME": person.pw_dir,
        "USER": person.pw_name,
        "LOGNAME": person.pw_name,
        "SHELL": person.pw_shell or "/bin/bash",
        "PATH": ":".join(dict.fromkeys((*FIXED_PATH, str(program.node.parent)))),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        **given,
        "PI_OFFLINE": "1",
        "PI_TELEMETRY": "0",
        "PI_SKIP_VERSION_CHECK": "1",
        "PI_CODING_AGENT_DIR": str(folder),
        "PI_CODING_AGENT_SESSION_DIR": str(folder / "sessions"),
    }
