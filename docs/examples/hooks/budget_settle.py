from oqto_platform import Session, Settlement, hookimpl

bills: dict[str, int] = {}


@hookimpl
def budget_settle(session: Session, reservation_id: str) -> Settlement | None:
    # Asked again until it answers, with the same answer each time. Without an id it is the session's own wallet.
    wallet = reservation_id or f"wallet-of-{session.id}"
    return Settlement(spent_nusd=bills.get(wallet, 0))
