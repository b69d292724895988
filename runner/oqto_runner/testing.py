"""
A runner for tests: the real one, and with it agents that misbehave on purpose.

`python -I -m oqto_runner.testing …` takes the arguments of `oqto-runner`. With `--unconfined` agents run without a
sandbox, for machines and plugins that have none. Only for tests: no server starts this by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from oqto_platform import ConfinedPlan, hookimpl
from oqto_platform.canon import Command, FollowUp, Prompt, Steer
from oqto_platform.types import Launch, Session, SpawnPlan
from oqto_runner.harness import Conversation, Harness, Step
from oqto_runner.harness.echo import Echo, EchoConversation

MISBEHAVING = {
    "crashing": "crash 3",  # ends at its first prompt, with an exit code and words on stderr
    "killed": "kill",  # ends at its first prompt by a signal, without a word
    "hanging": "hang",  # begins to answer and never goes on; hears neither abort nor SIGTERM
    "flooding": "flood 20000",  # answers every prompt with 20,000 pieces at once
    "noisy": "noise",  # writes what is not its protocol, then answers
    "littering": "spawn hidden",  # leaves a process behind that is tied to nothing
}
"""What each does at a prompt, in the words of the echo agent."""

UNSTARTABLE = "unstartable"
"""Ends before it is ready, with words on stderr."""


class Misbehaving(Echo):
    """The echo agent with one thing on its mind: whatever the prompt says, it does `directive`."""

    def __init__(self, name: str, directive: str) -> None:
        self.name = name
        self.title = name.capitalize()
        self._directive = directive

    def conversation(self, session: Session, launch: Launch, home: Path) -> Conversation:
        return _Directed(self._directive)


class Unstartable(Echo):
    """Never becomes ready."""

    name = UNSTARTABLE
    title = UNSTARTABLE.capitalize()

    def plan(self, session: Session, launch: Launch, home: Path) -> SpawnPlan:
        plan = super().plan(session, launch, home)
        return msgspec.structs.replace(plan, env={**plan.env, "ECHO_FAIL": "I do not start, as asked"})


class _Directed(EchoConversation):
    def __init__(self, directive: str) -> None:
        super().__init__()
        self._directive = directive

    def command(self, token: int, command: Command, now: float) -> Step:
        if isinstance(command, Prompt | FollowUp | Steer):
            command = msgspec.structs.replace(command, message=self._directive)
        return super().command(token, command, now)


class _Agents:
    """The plugin `misbehaving` of this runner."""

    @hookimpl
    def register_harnesses(self) -> Sequence[Harness]:
        return [*(Misbehaving(name, directive) for name, directive in MISBEHAVING.items()), Unstartable()]


class _Unconfined:
    """The plugin `unconfined` of this runner: answers `confine` with the plan itself."""

    @hookimpl(trylast=True)
    def confine(self, session: Session, plan: SpawnPlan) -> ConfinedPlan:
        return ConfinedPlan(argv=plan.argv, cwd=plan.cwd, env=plan.env, confined_by="nothing", profile="test")


def main(argv: list[str] | None = None) -> int:
    """Run the daemon as `oqto-runner` does."""
    from oqto_runner import __main__ as command
    from oqto_runner import daemon

    arguments = list(sys.argv[1:] if argv is None else argv)
    plugins: dict[str, object] = {"misbehaving": _Agents()}
    if "--unconfined" in arguments:
        arguments.remove("--unconfined")
        plugins["unconfined"] = _Unconfined()
    load = daemon._load_plugins  # noqa: SLF001 (the command line has no door for plugins that are not installed)
    daemon._load_plugins = lambda options: load(replace(options, plugins=plugins))  # noqa: SLF001
    return command.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
