"""What one worker counts, and what each number means. Loads nothing: it is on the way of every request."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets; one more holds what took longer."""


class Family(NamedTuple):
    """A metric: its kind, what it says, and the names of its labels."""

    kind: Kind
    help: str
    labels: Labels = ()


FAMILIES: dict[str, Family] = {
    "oqto_http_requests": Family("counter", "Answered HTTP requests.", ("method", "route", "status")),
    "oqto_http_request_seconds": Family(
        "histogram", "Time until the answer to a request begins.", ("route",)
    ),
    "oqto_mux_connections": Family("gauge", "Browsers that are connected."),
    "oqto_mux_commands": Family("counter", "Commands of browsers to sessions.", ("outcome",)),
    "oqto_events_relayed": Family("counter", "Events of sessions that were sent to browsers."),
    "oqto_audit_records": Family("counter", "Records of the audit log.", ("event", "outcome")),
}


class Counts:
    """The numbers of this process, by metric and labels."""

    def __init__(self) -> None:
        self.values: defaultdict[str, defaultdict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self.buckets: dict[str, dict[Labels, list[float]]] = {}
        """Per histogram and labels: a count for each bucket, then the sum."""

    def add(self, metric: str, labels: Labels = (), amount: float = 1) -> None:
        """Count something, or move a gauge."""
        self.values[metric][labels] += amount

    def observe(self, metric: str, labels: Labels, value: float) -> None:
        """Sort a value into its bucket."""
        series = self.buckets.setdefault(metric, {})
        row = series.get(labels)
        if row is None:
            row = series[labels] = [0.0] * (len(BOUNDS_S) + 2)
        row[bisect_left(BOUNDS_S, value)] += 1
        row[-1] += value


counts = Counts()
"""Those of this worker."""
