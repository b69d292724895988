from oqto_platform import Context, Outcome, Session, hookimpl
from oqto_platform.canon import Notify


class _Here:
    context: Context


@hookimpl
def startup(context: Context) -> None:
    _Here.context = context


@hookimpl
def agent_gone(session: Session, outcome: Outcome) -> None:
    if outcome.reason == "idle":
        _Here.context.tell(
            session.id, Notify(level="info", message="The weather panel goes on without the agent.")
        )
