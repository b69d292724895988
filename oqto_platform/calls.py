"""One typed method per run-time hook, so that a call is checked by mypy and found by grep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from oqto_platform.hooks import Hooks, PerPlugin, Tally
    from oqto_platform.settings import Settings
    from oqto_platform.types import (
        Account,
        Check,
        ConfinedPlan,
        Credentials,
        Identity,
        Metric,
        ModelSource,
        Outcome,
        Reservation,
        Session,
        Settlement,
        SpawnPlan,
        Template,
        ToolCall,
        Usage,
        Workspace,
        WorkspaceRequest,
    )


class Calls:
    """The hooks of `hookspecs`, callable. Errors: `HookError`, `Refusal`, by the hook's mode."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._run = hooks.run

    async def prepare(self, context: PerPlugin) -> None:
        await self._run("prepare", context=context)

    async def startup(self, context: PerPlugin) -> None:
        await self._run("startup", context=context)

    async def shutdown(self) -> None:
        await self._run("shutdown")

    async def config_changed(self, old: Settings, new: Settings) -> None:
        await self._run("config_changed", old=old, new=new)

    async def health(self) -> dict[str, Sequence[Check]]:
        answers = cast("dict[str, Sequence[Check]]", await self._run("health"))
        return _with_switched_off(answers, self._hooks.tallies())

    async def doctor(self, settings: Settings) -> dict[str, Sequence[Check]]:
        return cast("dict[str, Sequence[Check]]", await self._run("doctor", settings=settings))

    async def metrics(self) -> dict[str, Sequence[Metric]]:
        return cast("dict[str, Sequence[Metric]]", await self._run("metrics"))

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        return cast("Identity | None", await self._run("authenticate", credentials=credentials))

    async def authorize(self, identity: Identity, action: str, target: str) -> None:
        await self._run("authorize", identity=identity, action=action, target=target)

    async def session_starting(self, session: Session, account: Account) -> None:
        await self._run("session_starting", session=session, account=account)

    async def budget_reserve(self, session: Session, account: Account) -> Reservation | None:
        return cast("Reservation | None", await self._run("budget_reserve", session=session, account=account))

    async def spawn(self, session: Session, plan: SpawnPlan) -> SpawnPlan:
        return cast("SpawnPlan", await self._run("spawn", session=session, plan=plan))

    async def confine(self, session: Session, plan: SpawnPlan) -> ConfinedPlan | None:
        return cast("ConfinedPlan | None", await self._run("confine", session=session, plan=plan))

    async def session_started(self, session: Session) -> None:
        await self._run("session_started", session=session)

    async def session_stopping(self, session: Session, reason: str) -> None:
        await self._run("session_stopping", session=session, reason=reason)

    async def tool_ended(self, session: Session, call: ToolCall) -> None:
        await self._run("tool_ended", session=session, call=call)

    async def agent_gone(self, session: Session, outcome: Outcome) -> None:
        await self._run("agent_gone", session=session, outcome=outcome)

    async def session_stopped(self, session: Session, outcome: Outcome) -> None:
        await self._run("session_stopped", session=session, outcome=outcome)

    async def budget_settle(self, session: Session, reservation_id: str) -> Settlement | None:
        answer = await self._run("budget_settle", session=session, reservation_id=reservation_id)
        return cast("Settlement | None", answer)

    async def budget_usage(self, account: Account) -> Usage | None:
        return cast("Usage | None", await self._run("budget_usage", account=account))

    async def list_models(self, account: Account) -> dict[str, Sequence[ModelSource]]:
        return cast("dict[str, Sequence[ModelSource]]", await self._run("list_models", account=account))

    async def list_templates(self, account: Account) -> dict[str, Sequence[Template]]:
        return cast("dict[str, Sequence[Template]]", await self._run("list_templates", account=account))

    async def create_workspace(self, request: WorkspaceRequest) -> Workspace | None:
        return cast("Workspace | None", await self._run("create_workspace", request=request))


def _with_switched_off(
    answers: dict[str, Sequence[Check]], tallies: Mapping[tuple[str, str], Tally]
) -> dict[str, Sequence[Check]]:
    """A plugin that was switched off for a hook is not well, whatever it says itself."""
    for (hook, plugin), tally in tallies.items():
        if tally.is_off:
            answers = answers | {plugin: [*answers.get(plugin, ()), _switched_off(hook, plugin, tally)]}
    return answers


def _switched_off(hook: str, plugin: str, tally: Tally) -> Check:
    from oqto_platform.types import Check

    return Check(
        name=f"{plugin}.{hook}",
        ok=False,
        detail=f"switched off after {tally.failures_in_a_row} failures in a row; the last: {tally.last_failure}",
        repair=f"see the log; then: oqtoctl plugins reset {plugin}, or: oqtoctl plugins disable {plugin}",
    )
