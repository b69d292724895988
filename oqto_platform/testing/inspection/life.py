"""Rules about a plugin's life: every awaited hook it has is called as the house would, from start to end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from oqto_platform.errors import OqtoError, Refusal
from oqto_platform.hooks import BLOCKING_S, Hooks, Mode, PerPlugin
from oqto_platform.settings import Settings
from oqto_platform.testing.inspection import Report, samples
from oqto_platform.testing.inspection.context import InspectedContext
from oqto_platform.types import ConfinedPlan, SpawnPlan


class Life:
    """One life of the plugin. Nothing that it raises ends the inspection."""

    def __init__(
        self, report: Report, hooks: Hooks, context: InspectedContext, settings: Settings, root: Path
    ) -> None:
        self._report = report
        self._hooks = hooks
        self._context = context
        workspace = root / "workspace"
        workspace.mkdir(exist_ok=True)
        self._arguments = samples.arguments(workspace, settings)

    async def live(self) -> None:
        """Start, every hook, everything that may come twice, end."""
        self._arguments["context"] = PerPlugin(lambda _name: self._context)
        awaited = [name for name, policy in self._hooks.policies.items() if policy.mode is not Mode.REGISTER]
        try:
            for hook in [*(name for name in awaited if name != "shutdown"), "shutdown"]:
                if self._hooks.implements(hook):
                    await self._witness(hook)
        finally:
            await self._context.children.stop_all()
        self._look_for_blocking()

    async def _witness(self, hook: str) -> None:
        match hook:
            case "spawn":
                self._compare_plans(await self._call(hook))
            case "confine":
                self._look_at_confined(await self._call(hook))
            case "session_stopped":
                await self._call_again(hook)
                unknown = msgspec.structs.replace(self._arguments["session"], id=samples.UNKNOWN)
                await self._call(hook, session=unknown)
            case "budget_settle":
                await self._call_again(hook)
            case "shutdown":
                await self._call(hook)
            case _:
                answer = await self._call(hook)
                if hook == "budget_reserve" and answer is not None:
                    self._arguments["reservation_id"] = answer.id

    async def _call(self, hook: str, **changed: Any) -> Any:
        names = _argument_names(hook)
        arguments = {name: changed.get(name, self._arguments[name]) for name in names}
        before = {name: _frozen(value) for name, value in arguments.items()}
        try:
            answer = await self._hooks.run(hook, **arguments)
        except Refusal:
            answer = None  # it may: that is what it is for
        except OqtoError as exc:
            answer = None
            self._report.say("life", exc.detail)
        self._look_for_silent_failures(hook)
        self._look_for_changes(hook, before, arguments)
        return answer

    def _look_for_silent_failures(self, hook: str) -> None:
        """Whoever is only told something fails in the log, where an author may not look."""
        tally = self._hooks.tallies()[hook, self._report.plugin]
        if tally.failures and self._hooks.policies[hook].mode is Mode.NOTIFY:
            self._report.say("life", f"{hook}: {tally.last_failure}")

    def _look_for_changes(self, hook: str, before: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        # A frozen Struct may hold a dict, which is not. Where the house gives copies it counts what was done to them.
        changed = [name for name, value in arguments.items() if _frozen(value) != before[name]]
        if self._hooks.tallies()[hook, self._report.plugin].changed_arguments or changed:
            text = f"{hook} changes what it is given; answer with msgspec.structs.replace(…)"
            self._report.say("mutation", text)

    async def _call_again(self, hook: str) -> None:
        first, second = await self._call(hook), await self._call(hook)
        if first != second:
            self._report.say("repetition", f"{hook} answers {first} and then {second}; it may be asked again")

    def _compare_plans(self, plan: SpawnPlan | None) -> None:
        if plan is None:
            return
        before: SpawnPlan = self._arguments["plan"]
        lost = {name for name, value in before.env.items() if plan.env.get(name) != value}
        if lost:
            self._report.say("plan", f"spawn drops or changes the variables {', '.join(sorted(lost))}")
        for field in ("readable", "writable", "relays"):
            if gone := [item for item in getattr(before, field) if item not in getattr(plan, field)]:
                self._report.say("plan", f"spawn drops {field} {', '.join(map(str, gone))}")
        if not set(before.argv) <= set(plan.argv):
            self._report.say("plan", "spawn drops words of argv")

    def _look_at_confined(self, confined: ConfinedPlan | None) -> None:
        if confined is None:
            return
        for fd in confined.fds:  # the runner would pass them on and close them
            os.close(fd)
        plan: SpawnPlan = self._arguments["plan"]
        if confined.cwd != plan.cwd:
            self._report.say("plan", f"confine starts in {confined.cwd}, not in the plan's {plan.cwd}")
        if not confined.confined_by:
            self._report.say("plan", "confine does not say by what it confines: confined_by")

    def _look_for_blocking(self) -> None:
        for (hook, plugin), tally in self._hooks.tallies().items():
            if plugin == self._report.plugin and tally.longest_block_s > BLOCKING_S:
                self._report.blocking[hook] = tally.longest_block_s


def _argument_names(hook: str) -> list[str]:
    import inspect

    from oqto_platform import hookspecs

    return list(inspect.signature(getattr(hookspecs, hook)).parameters)


def _frozen(value: Any) -> Any:
    """A copy to compare with: what a Struct holds, as plain values."""
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value, enc_hook=repr)
    return value if isinstance(value, str) else None
