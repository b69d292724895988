"""Why an agent ended, in words."""

from __future__ import annotations

from oqto_platform.canon import SessionClosed
from oqto_platform.types import Outcome, StopReason
from oqto_runner.process import Process, describe_exit

ENDINGS: dict[StopReason, str] = {
    "asked": "it was stopped on request",
    "idle": "it was stopped because nothing happened for a while",
    "exited": "it ended by itself",
    "failed": "it could not go on",
    "deleted": "the session was deleted",
    "shutdown": "the server was stopped",
    "interrupted": "the runner was restarted",
}


def judged(process: Process, asked: StopReason | None, detail: str) -> Outcome:
    """What became of `process`. `asked` is why we ended it; `None` when it ended by itself."""
    code = process.exit_code
    said = describe_exit(code) if code is not None else "its process could not be ended"
    reason: StopReason = asked or ("exited" if code == 0 else "failed")
    return Outcome(
        reason=reason,
        detail=detail or (said if asked is None else ENDINGS[asked]),
        exit_code=code,
        stderr_tail=process.stderr_tail,
    )


def closing_event(outcome: Outcome) -> SessionClosed:
    """The last event of a log, made from `outcome`."""
    return SessionClosed(
        reason=outcome.reason,
        detail=outcome.detail,
        exit_code=outcome.exit_code,
        stderr_tail=outcome.stderr_tail,
    )
