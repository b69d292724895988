from oqto_platform import Account, Refusal, Session, hookimpl


@hookimpl
def session_starting(session: Session, account: Account) -> None:
    if session.workspace.endswith("/archive"):
        raise Refusal(f"The archive is for reading, {account.name}. Copy what you need into another folder.")
