"""
The states of a session and the moves between them.

`starting → running → stopping → stopped → settled`, and `starting | running → failed → settled`; `starting →
stopped` when the core died during a start and the agent ended by itself before anybody looked. A failed
start goes through the same settling, so a reservation is never orphaned. Resuming begins again, from `settled`
only: a settlement that comes late would take the money and the process of the life after it.
"""

from __future__ import annotations

from oqto_platform.errors import Conflict
from oqto_platform.types import SessionState

MOVES: dict[SessionState, frozenset[SessionState]] = {
    "starting": frozenset({"running", "stopping", "stopped", "failed"}),
    "running": frozenset({"stopping", "stopped", "failed"}),
    "stopping": frozenset({"stopped", "failed"}),
    "stopped": frozenset({"settled"}),
    "failed": frozenset({"settled"}),
    "settled": frozenset({"starting"}),
}

LIVE: frozenset[SessionState] = frozenset({"starting", "running", "stopping"})
OVER: frozenset[SessionState] = frozenset({"stopped", "failed", "settled"})
UNSETTLED: frozenset[SessionState] = frozenset({"stopped", "failed"})


def check_move(current: str, wanted: SessionState) -> None:
    """Raise `Conflict` when the table has no such move."""
    if wanted not in MOVES.get(current, frozenset()):  # type: ignore[call-overload]
        raise Conflict(f"a session that is {current} cannot become {wanted}")
