from oqto_platform import Account, Reservation, ReservationId, Session, hookimpl


@hookimpl
def budget_reserve(session: Session, account: Account) -> Reservation | None:
    # The same session gets the same wallet, however often this is asked.
    wallet = ReservationId(f"wallet-of-{session.id}")
    return Reservation(id=wallet, limit_usd=2.5, env={"BUDGET_KEY": f"virtual-{session.id}"})
