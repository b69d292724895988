"""How often somebody may try a password."""

from __future__ import annotations

from collections import OrderedDict, deque
from math import ceil

from oqto_platform.clock import monotonic
from oqto_platform.errors import LimitReached

WINDOW_S = 60.0
PER_NAME, PER_ADDRESS = 5, 20
KEPT = 10_000


class Throttle:
    """
    Failed tries per name and per address in a sliding minute. Memory is bounded; the oldest is forgotten.

    A try counts as failed from its beginning: of many that come at once, no more get through than in a row.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, name: str, address: str) -> None:
        """Begin a try, or raise `LimitReached` with `retry_after_s` while there are too many failures."""
        for key, limit in _keys(name, address):
            recent = self._recent(key)
            if len(recent) >= limit:
                wait_s = max(1, ceil(WINDOW_S - (monotonic() - recent[-limit])))
                raise LimitReached(f"too many tries; wait {wait_s} s and try again", retry_after_s=wait_s)
        self._count(name, address)

    def succeeded(self, name: str, address: str) -> None:
        """It was no failure: the name is clear, and this try is taken back from the address."""
        self._failures.pop(f"name:{name}", None)
        if tries := self._failures.get(f"address:{address}"):
            tries.pop()

    def _count(self, name: str, address: str) -> None:
        for key, _ in _keys(name, address):
            self._failures.setdefault(key, deque(maxlen=PER_ADDRESS)).append(monotonic())
            self._failures.move_to_end(key)
        while len(self._failures) > KEPT:
            self._failures.popitem(last=False)

    def _recent(self, key: str) -> deque[float]:
        recent = self._failures.get(key, deque())
        while recent and monotonic() - recent[0] > WINDOW_S:
            recent.popleft()
        return recent


def _keys(name: str, address: str) -> tuple[tuple[str, int], tuple[str, int]]:
    return (f"name:{name}", PER_NAME), (f"address:{address}", PER_ADDRESS)
