"""When the agent works and when it has settled: the one place that says `agent.working` and `agent.idle`.

A turn opens with a prompt, a run or a compaction. It ends on `agent_settled` (pi ≥0.8). Older pi only
says `agent_end`, after which a retry or a compaction may still follow, so there the turn ends when
`SETTLE_S` have passed quietly and `get_state` confirms it. The same question, asked after a longer
silence, ends turns whose last line was lost.
"""

from __future__ import annotations

from oqto_platform.canon import AgentError, AgentIdle, AgentWorking, Phase, StopCause
from oqto_runner.harness.pi.failures import explain
from oqto_runner.harness.pi.outbox import Outbox

SETTLE_S = 0.1
AGAIN_S = 0.25
LOST_S = 5.0
QUIET_S = 30.0


class Turn:
    """Open or not, what runs in it, and when to ask pi whether it is over."""

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self._shown: tuple[Phase, str] | None = None
        self._failure = ""
        self._stop: StopCause | None = None
        self._tells_settled = False
        # When to ask pi whether it has settled.
        self._probe_at: float | None = None
        self.is_open = False
        self.is_running = False
        self.is_compacting = False
        self.is_retrying = False
        self.is_aborted = False
        # The run has ended and, as far as pi told, nothing follows.
        self.is_over = False
        # Prompts that pi has and did not respond to yet.
        self.unanswered = 0
        self.epoch = 0

    def begin(self, phase: Phase, now: float) -> None:
        """Open the turn, or only show another phase of it."""
        self.epoch += 1
        self.is_over = False
        if not self.is_open:
            self.is_open, self.is_aborted, self._shown, self._failure, self._stop = (
                True,
                False,
                None,
                "",
                None,
            )
        self.show(phase)
        self._probe_at = now + QUIET_S

    def show(self, phase: Phase, detail: str = "") -> None:
        if self.is_open and self._shown != (phase, detail):
            self._shown = (phase, detail)
            self._out.say(AgentWorking(phase=phase, detail=detail))

    def end(self) -> None:
        """Say what went wrong, if anything did, and that the agent is idle."""
        self.is_running = self.is_compacting = self.is_retrying = self.is_over = False
        self._probe_at = None
        if not self.is_open:
            return
        self.is_open = False
        if self.is_aborted and self._stop != "stop":
            self._stop, self._failure = "aborted", ""
        if self._failure:
            failure = explain(self._failure)
            self._out.say(AgentError(error=failure.words, code=failure.code))
        self._out.say(AgentIdle(stop_reason=self._stop))

    def message_ended(self, stop: StopCause | None, error: str) -> None:
        self._stop = stop
        self._failure = error if stop == "error" else ""

    def fail(self, error: str) -> None:
        """The turn ends with this unless something goes on."""
        self._stop, self._failure = "error", error

    def abort(self) -> None:
        """The person ended it: what fails from here on is no error."""
        self.is_aborted = self.is_open

    def run_started(self, now: float) -> None:
        self.is_running, self.is_retrying = True, False
        self.begin("generating", now)

    def run_ended(self, *, tells_settled: bool, now: float) -> None:
        self._tells_settled = self._tells_settled or tells_settled
        self.is_running = self._tells_settled
        self.is_over = not self.is_running
        self._probe_at = now + (LOST_S if self._tells_settled else SETTLE_S)

    def tells_settled(self) -> None:
        """Note that this pi says `agent_settled`."""
        self._tells_settled = True

    def retry_started(self, now: float) -> None:
        self.is_retrying = True
        self.begin("retrying", now)

    def retry_ended(self, *, success: bool, error: str, now: float) -> None:
        self.is_retrying = False
        if success:
            self.show("generating")
            return
        # "Retry cancelled" says less than the failure that was to be retried.
        self._failure = self._failure or error
        if not self.is_running:
            self.is_over, self._probe_at = True, now + SETTLE_S

    def compaction_started(self, now: float) -> None:
        self.is_compacting = True
        self.begin("compacting", now)

    def compaction_ended(self, *, goes_on: bool, now: float) -> None:
        self.is_compacting = False
        if self.is_running or goes_on:
            self.show("generating")
        elif not self.unanswered:
            self.is_over, self._probe_at = True, now + SETTLE_S

    def prompt_sent(self) -> None:
        self.unanswered += 1
        self.epoch += 1
        self.is_over = False

    def prompt_answered(self, now: float) -> None:
        """A run follows at once, or none at all (a command of an extension)."""
        self.unanswered -= 1
        if self.is_open and not self.is_running and not self.unanswered:
            self._probe_at = now + SETTLE_S

    def noticed(self, now: float) -> None:
        """Pi said something: a silence begins anew."""
        if self.is_running and self._probe_at is not None and self._probe_at - now > LOST_S:
            self._probe_at = now + QUIET_S

    def take_probe(self, now: float) -> bool:
        """Whether to ask pi now if it has settled."""
        if self._probe_at is None or now < self._probe_at or self.unanswered:
            return False
        self._probe_at = None
        return True

    def probed(self, *, is_busy: bool, epoch: int, now: float) -> bool:
        """Pi's answer; whether the turn is over. Stale when something began since the question."""
        if not self.is_open or epoch != self.epoch:
            return False
        if is_busy or self.is_retrying:
            self._probe_at = now + (QUIET_S if self.is_running else AGAIN_S)
            return False
        return True
