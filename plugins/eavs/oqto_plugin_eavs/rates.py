"""
How often a key or a wallet may call: per minute, per day, in tokens per minute, and at the same time.

Looking and taking are apart, so that a call is let through by its key and by every wallet above it, or takes
from none of them.
"""

from __future__ import annotations

import msgspec

from oqto_platform.errors import Invalid

MINUTE_S = 60.0
DAY_S = 86_400
EARLY_S = 1e-9
BUSY_S = 1.0
"""What a caller is asked to wait for a place among the calls that run."""
MOST = 10**9


class Rates(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Limits beside money; 0 means none. `tpm` counts prompt and reply; `rpd` counts days of UTC."""

    rpm: int = 0
    tpm: int = 0
    rpd: int = 0
    concurrent: int = 0

    @property
    def is_open(self) -> bool:
        """Whether nothing is limited."""
        return not (self.rpm or self.tpm or self.rpd or self.concurrent)

    def checked(self) -> Rates:
        """The limits themselves, as somebody asks for them; raises `Invalid` that names the field."""
        for name, value in msgspec.structs.asdict(self).items():
            if not 0 <= value <= MOST:
                raise Invalid(f"{name}: {value} is no limit; use 0 (none) to {MOST}", field=name)
        return self


class Wait(msgspec.Struct, frozen=True):
    """How long until the next call may come, and why."""

    seconds: float
    reason: str
    used_up: tuple[str, int] = ("", 0)
    """See `refusals.UsedUp`."""


class Flow:
    """
    What was taken of the limits of one key or one wallet.

    Minutes are counted by the generic cell rate algorithm: `_calls_at` and `_tokens_at` are the times at which
    an even flow would have used up what was taken. A burst of one minute's worth is fine.
    """

    __slots__ = ("_calls_at", "_day", "_tokens_at", "rates", "running", "today")

    def __init__(self, rates: Rates) -> None:
        self.rates = rates
        self.running = self.today = self._day = 0
        self._calls_at = self._tokens_at = 0.0

    def wait(self, now: float, wall: float, tokens: int) -> Wait | None:
        """What stands against a call of about `tokens`, or `None`. `now` is monotonic, `wall` the time of day."""
        rates = self.rates
        if rates.concurrent and self.running >= rates.concurrent:
            return Wait(BUSY_S, "Too many calls at the same time")
        if rates.rpd and self._count(wall) >= rates.rpd:
            return Wait(DAY_S - wall % DAY_S, "Too many calls today", ("requests", rates.rpd))
        if (
            rates.rpm
            and (early := max(self._calls_at, now) + MINUTE_S / rates.rpm - now - MINUTE_S) > EARLY_S
        ):
            return Wait(early, "Too many calls in a minute", ("requests", rates.rpm))
        # A prompt longer than a whole minute's worth goes when nothing else has been taken.
        if rates.tpm and (ahead := self._tokens_at - now) > 0:
            early = min(ahead, ahead + tokens * MINUTE_S / rates.tpm - MINUTE_S)
            text = "Too many tokens in a minute"
            return Wait(early, text, ("tokens", rates.tpm)) if early > EARLY_S else None
        return None

    def take(self, now: float, wall: float, tokens: int) -> None:
        """Take a place and `tokens`."""
        self.running += 1
        self._count(wall)
        self.today += 1
        if self.rates.rpm:
            self._calls_at = max(self._calls_at, now) + MINUTE_S / self.rates.rpm
        self.take_tokens(now, tokens)

    def take_tokens(self, now: float, tokens: int) -> None:
        """Take tokens of a call that has its place, or give some back."""
        if self.rates.tpm:
            self._tokens_at = max(self._tokens_at, now) + tokens * MINUTE_S / self.rates.tpm

    def end(self) -> None:
        """A call is over."""
        self.running -= 1

    def recall(self, ago_s: float, now: float, wall: float, tokens: int) -> None:
        """Count a call of before a restart, the oldest first."""
        self.take(now - ago_s, wall - ago_s, tokens)
        self.running -= 1

    def _count(self, wall: float) -> int:
        # A clock set back opens no new day.
        if (day := int(wall // DAY_S)) > self._day:
            self._day, self.today = day, 0
        return self.today
