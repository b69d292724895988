from oqto_platform import Outcome, Session, hookimpl

ended: dict[str, str] = {}


@hookimpl
def session_stopped(session: Session, outcome: Outcome) -> None:
    ended[session.id] = outcome.reason  # being told twice changes nothing
