"""In the server: a greeting in its log."""

from oqto_platform import Session, hookimpl


@hookimpl
def session_started(session: Session) -> None:
    print(f"hello, {session.id}")  # noqa: T201
