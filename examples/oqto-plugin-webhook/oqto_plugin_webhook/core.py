"""Notes that a session has ended, and leaves the telling to a job: nobody waits for another system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from oqto_platform import Check, Context, Job, Outcome, Secret, Section, Session, Tables, hookimpl, key

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERY_S = 2.0


class Webhook(Section, frozen=True):
    """The section `[webhook]`."""

    url: Annotated[str, key("Where notices are posted. Empty: nowhere.")] = ""
    secret: Annotated[Secret, key("Signs each notice; shared with the receiver.")] = Secret("")
    timeout_s: Annotated[float, key("How long one delivery may take.", gt=0)] = 10.0
    give_up_hours: Annotated[
        float, key("After this time a notice is dropped, and the log says so.", gt=0)
    ] = 24.0


class _Core:
    context: Context


@hookimpl
def register_config() -> type[Section]:
    return Webhook


@hookimpl
def register_tables() -> Tables:
    from oqto_plugin_webhook.outbox import NoticeRow

    return Tables(models=(NoticeRow,), migrations=Path(__file__).parent / "migrations")


@hookimpl
def register_jobs(context: Context) -> Sequence[Job]:
    from oqto_plugin_webhook.delivery import deliver_due

    return [Job(name="deliver", every_s=EVERY_S, run=lambda: deliver_due(context))]


@hookimpl
def startup(context: Context) -> None:
    _Core.context = context


@hookimpl
async def session_stopped(session: Session, outcome: Outcome) -> None:
    from oqto_plugin_webhook.outbox import notice_of, put

    if _Core.context.settings().url:
        await _Core.context.db.write(lambda transaction: put(transaction, notice_of(session, outcome)))


@hookimpl
async def health() -> Sequence[Check]:
    from oqto_plugin_webhook.outbox import waiting

    count, problem = await _Core.context.db.read(waiting)
    detail = f"{count} notices wait for delivery; the last try: {problem}" if problem else ""
    return [
        Check(
            name="webhook", ok=not problem, detail=detail, repair="look at [webhook] url and at the receiver"
        )
    ]
