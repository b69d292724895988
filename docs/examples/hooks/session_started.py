from oqto_platform import Session, hookimpl

running: set[str] = set()


@hookimpl
def session_started(session: Session) -> None:
    running.add(session.id)
