"""What every meter of a reply does, whatever the dialect."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .prices import Tokens

CHARACTERS_PER_TOKEN = 3.3
"""For estimates only: replies that ended without counts."""
MOST = 10**8
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
"""What a provider may say it counted. Less than nothing would pay money back, and sums of much more fit no ledger."""
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Meter:
    """Collects the counts of one reply. `tokens` is `None` until the provider told any."""

    tokens: Tokens | None = None
    model = tier = ""
    text_bytes = 0
    is_final = False
    is_doubtful = False
    """Whether counts came that cannot be."""
    strips = False
    """Whether the client is not to see the event with the counts."""

    def event(self, data: bytes) -> bool:
        """Read one event of a stream; whether the client should see it."""
        try:
            return self.read(data)
        except UNREADABLE:
            return self.skip(data)

    def skip(self, data: bytes) -> bool:
        """Count an event that `read` refused; the client sees it."""
        self.text_bytes += len(data)
        self.is_doubtful |= b"usage" in data
        return True

    def whole(self, data: bytes) -> None:
        """Read a plain reply."""
        try:
            self._whole(data)
        except UNREADABLE:
            self.text_bytes += len(data)
        else:
            self.text_bytes += len(data) if self.tokens is None else 0

    def read(self, data: bytes) -> bool:
        """`event`, where what cannot be read is raised: `UNREADABLE`."""
        raise NotImplementedError

    def _whole(self, data: bytes) -> None:
        raise NotImplementedError

    @property
    def written(self) -> int:
        """About how many tokens the reply has so far."""
        return round(self.text_bytes / CHARACTERS_PER_TOKEN)

    def best(self, prompt_estimate: int) -> tuple[Tokens, bool]:
        """The counts to bill and whether they are an estimate: never nothing for a reply that was made."""
        if self.is_final and self.tokens is not None and not self.is_doubtful:
            return self.tokens, False
        written = self.written
        if self.tokens is None or self.is_doubtful:
            return Tokens(input=prompt_estimate, output=written), True
        if self.tokens.output >= written:
            return self.tokens, True
        return msgspec.structs.replace(self.tokens, output=written), True


class NoMeter(Meter):
    """For calls that cost nothing: counting tokens, listing models."""

    def read(self, data: bytes) -> bool:
        return True

    def _whole(self, data: bytes) -> None:
        self.tokens, self.is_final = Tokens(), True
