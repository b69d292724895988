"""How many sessions an account may start in a day, and the sentence for the one too many."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from oqto_platform import Account, Context, Refusal, Section, Session, Tables, hookimpl, key


class Quota(Section, frozen=True):
    """The section `[quota]`."""

    sessions_per_day: Annotated[int, key("Sessions that an account may start per day (UTC).", ge=0)] = 20
    exempt: Annotated[tuple[str, ...], key("Names of accounts without a limit.")] = ()


class _Core:
    context: Context


@hookimpl
def register_config() -> type[Section]:
    return Quota


@hookimpl
def register_tables() -> Tables:
    from oqto_plugin_quota.tables import StartedRow

    return Tables(models=(StartedRow,), migrations=Path(__file__).parent / "migrations")


@hookimpl
def startup(context: Context) -> None:
    _Core.context = context


@hookimpl
async def session_starting(session: Session, account: Account) -> None:
    from oqto_plugin_quota.tables import count

    settings: Quota = _Core.context.settings()
    if account.name in settings.exempt:
        return
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    # Counting and noting in one transaction: two starts at the same moment are two, and one of them is refused.
    is_within = await _Core.context.db.write(
        lambda transaction: count(transaction, session, today, settings.sessions_per_day)
    )
    if not is_within:
        raise Refusal(
            f"You have started {settings.sessions_per_day} sessions today, which is as many as this server allows. "
            "Go on in one of them, or come back tomorrow (the day ends at midnight UTC)."
        )
