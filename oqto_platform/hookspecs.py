"""
The hook catalogue. Each function is a hook; its docstring is the contract.

The tense tells the hook: `…_starting` may still refuse, `…_started` is told. `register_*` are plain
functions called once at load; every other hook is awaited, and an implementation may be `def` (it must
not block) or `async def`. An implementation names only the arguments it wants, and a parameter with a
default is never filled. A plugin raises `Refusal` to say no in words that the person reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oqto_platform.hooks import Mode, hookspec
from oqto_platform.settings import Section, Settings
from oqto_platform.types import (
    Account,
    Check,
    ConfinedPlan,
    Context,
    Credentials,
    Identity,
    Job,
    Metric,
    ModelSource,
    Outcome,
    Panel,
    Reservation,
    Session,
    Settlement,
    SpawnPlan,
    Tables,
    Template,
    ToolCall,
    Usage,
    Workspace,
    WorkspaceRequest,
)

BOTH: Any = ("core", "runner")
RUNNER: Any = ("runner",)


def _failing_check(plugin: str, exc: BaseException) -> list[Check]:
    return [
        Check(
            name=plugin,
            ok=False,
            detail=str(exc),
            repair=f"see the log, or: oqtoctl plugins disable {plugin}",
        )
    ]


def _no_metrics(plugin: str, exc: BaseException) -> list[Metric]:
    return []


@hookspec(Mode.REGISTER, sides=BOTH)
def register_config() -> type[Section]:
    """The settings of this plugin: a `Section` subclass, read from the section `[<plugin>]`."""


@hookspec(Mode.REGISTER)
def register_routes(context: Context) -> Sequence[Any]:
    """
    Litestar handlers, mounted under `/api/plugins/<plugin>` and guarded by sign-in.

    A handler opens itself with `opt={"public": True}` or asks for an admin with `opt={"admin": True}`.
    """


@hookspec(Mode.REGISTER)
def register_commands(group: Any) -> None:
    """Click commands, added to `group`, which becomes `oqtoctl <plugin>`. Import nothing heavy here."""


@hookspec(Mode.REGISTER)
def register_tables() -> Tables:
    """Tables in the core's database, each named `<plugin>_…`, with their own Alembic history."""


@hookspec(Mode.REGISTER)
def register_panels() -> Sequence[Panel]:
    """Custom elements for the web UI, served from the plugin's `static` folder."""


@hookspec(Mode.REGISTER)
def register_jobs(context: Context) -> Sequence[Job]:
    """Periodic work. Runs on the leading worker only and never overlaps itself."""


@hookspec(Mode.REGISTER, sides=RUNNER)
def register_harnesses() -> Sequence[Any]:
    """Agents this runner can start: objects of the `oqto_runner.harness.Harness` protocol."""


@hookspec(Mode.CHECK, timeout_s=30)
def prepare(context: Context) -> None:
    """
    The server starts, and its database opens meanwhile: start here what takes long and does not need it, such as a daemon.

    `context.db` is there from `startup` on. A failure is treated as one of `startup`.
    """


@hookspec(Mode.CHECK, sides=BOTH, timeout_s=30)
def startup(context: Context) -> None:
    """
    The process starts. A failure stops it and names the plugin.

    A server with `runtime.fail_fast = false` goes on without the plugin: where the plugin has a say, calls fail.
    """


@hookspec(Mode.NOTIFY, sides=BOTH, timeout_s=10)
def shutdown() -> None:
    """The process is about to end; startup may not have succeeded."""


@hookspec(Mode.NOTIFY, sides=BOTH)
def config_changed(old: Settings, new: Settings) -> None:
    """The configuration was swapped. Both are whole snapshots; compare what you care about."""


@hookspec(Mode.COLLECT, sides=BOTH, timeout_s=3, failure_is_answer=_failing_check)
def health() -> Sequence[Check]:
    """Is this plugin able to work? A failure here is itself a failing check."""


@hookspec(Mode.COLLECT, sides=BOTH, timeout_s=15, failure_is_answer=_failing_check)
def doctor(settings: Settings) -> Sequence[Check]:
    """
    Could this plugin work on this machine? Asked by `oqtoctl doctor`, whether a server runs or not.

    `startup` was not called. Look at programs, files, keys and ports; change nothing. Of a check that a running
    server tells in `health`, too, that one is shown.
    """


@hookspec(Mode.COLLECT, timeout_s=3, failure_is_answer=_no_metrics)
def metrics() -> Sequence[Metric]:
    """
    Numbers of this plugin for `/metrics`, named `oqto_<plugin>_<name>` there.

    They must be the same whichever worker is asked: take them from a table or a daemon, not from memory. A
    failure leaves them out and is counted.
    """


@hookspec(Mode.FIRST)
def authenticate(credentials: Credentials) -> Identity | None:
    """
    Who signs in with these credentials? `None` means: not mine, ask the next.

    The built-in implementation answers last, from the account table. Take equal time for unknown names.
    """


@hookspec(Mode.CHECK, timeout_s=1)
def authorize(identity: Identity, action: str, target: str) -> None:
    """
    May `identity` do `action` to `target`? Raise `Refusal` to deny.

    Called after the core's own ownership rule has allowed it: a plugin can narrow, never widen.
    """


@hookspec(Mode.CHECK)
def session_starting(session: Session, account: Account) -> None:
    """A session is about to start; raise `Refusal` to deny it (quotas, maintenance)."""


@hookspec(Mode.FIRST, timeout_s=10, one_answerer=True)
def budget_reserve(session: Session, account: Account) -> Reservation | None:
    """
    Set money aside for `session` before anything starts.

    Safe to repeat: the same session gets the same wallet. Answers with the environment for the agent,
    which holds a virtual key and never a real one. Money fails closed: a failure refuses the session.
    """


@hookspec(Mode.FOLD, sides=RUNNER, timeout_s=10, value="plan")
def spawn(session: Session, plan: SpawnPlan) -> SpawnPlan | None:
    """
    Describe what will run. Answer a changed copy (`msgspec.structs.replace`), or `None` to leave it.

    Describe only: nothing is started here, and `confine` has the last word.
    """


@hookspec(Mode.FIRST, sides=RUNNER, one_answerer=True)
def confine(session: Session, plan: SpawnPlan) -> ConfinedPlan | None:
    """
    Wrap the finished plan in a sandbox. None answering means that the agent is refused.

    What prepares an agent program runs confined, too. It is no session: only plugins that implement `confine` are
    told its end, by `session_stopped`.
    """


@hookspec(Mode.NOTIFY, sides=BOTH)
def session_started(session: Session) -> None:
    """The agent answers. Told on the runner first, then on the core."""


@hookspec(Mode.NOTIFY, sides=RUNNER)
def session_stopping(session: Session, reason: str) -> None:
    """The agent is about to be ended and still runs: flush, close what it opened."""


@hookspec(Mode.NOTIFY, sides=RUNNER)
def tool_ended(session: Session, call: ToolCall) -> None:
    """A tool of the agent has ended and its `tool.end` is logged. One call after the other, in order."""


@hookspec(Mode.NOTIFY, sides=RUNNER)
def agent_gone(session: Session, outcome: Outcome) -> None:
    """
    The agent's process is gone and `session.closed` comes next: the last chance to `tell` the log something.

    Not called when the agent never answered, nor by a runner that finds a crashed session.
    """


@hookspec(Mode.NOTIFY, sides=BOTH, timeout_s=10)
def session_stopped(session: Session, outcome: Outcome) -> None:
    """The agent is gone. Told on the runner first, then on the core; may be told twice."""


@hookspec(Mode.FIRST, timeout_s=30, one_answerer=True)
def budget_settle(session: Session, reservation_id: str) -> Settlement | None:
    """
    Close the wallet's open holds and say what was spent.

    Called again until it answers, so it must give the same answer each time. `reservation_id` is empty when the
    start ended before the answer of `budget_reserve` was noted, or before it was asked: the wallet, if there is
    one, is then the one of `session.id`.
    """


@hookspec(Mode.FIRST, timeout_s=3, one_answerer=True)
def budget_usage(account: Account) -> Usage | None:
    """What this account spent and may spend, for the status strip and the usage page."""


@hookspec(Mode.COLLECT)
def list_models(account: Account) -> Sequence[ModelSource]:
    """The model sources that a session of this account could use now, for pickers. No secrets."""


@hookspec(Mode.COLLECT, timeout_s=10)
def list_templates(account: Account) -> Sequence[Template]:
    """What a new workspace of this account can be made from. Its name comes back in `create_workspace`."""


@hookspec(Mode.FIRST, sides=RUNNER, timeout_s=120)
def create_workspace(request: WorkspaceRequest) -> Workspace | None:
    """Make or open a workspace. The built-in implementation answers last with a plain directory, when no template is asked for."""
