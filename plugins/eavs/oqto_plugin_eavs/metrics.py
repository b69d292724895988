"""
Numbers for Prometheus. A call adds to plain dictionaries; the text is made when somebody asks.

No label names a person, a session or a key.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from oqto_platform import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from .ledger import Bill, Ledger
    from .store import Store
    from .wallets import Call

BUCKETS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
TOKENS = ("input", "cache_read", "cache_write", "cache_write_1h", "output")


class Metrics:
    """What was answered, refused and spent since the start, and what is going on."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger, self._store = ledger, store
        self._calls: Counter[tuple[str, str, str, str]] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._cost: Counter[str] = Counter()
        self._estimated: Counter[str] = Counter()
        self._seconds: dict[str, tuple[list[int], list[float]]] = {}
        self.refused: Counter[str] = Counter()
        ledger.on_bill.append(self._billed)

    def _billed(self, call: Call, bill: Bill) -> None:
        facts = call.facts
        self._calls[facts.provider, facts.dialect, bill.outcome, str(bill.status)] += 1
        self._cost[facts.provider] += bill.cost
        for name in TOKENS:
            if count := getattr(bill.tokens, name):
                self._tokens[facts.provider, name] += count
        if bill.is_estimated:
            self._estimated[facts.provider] += 1
        counts, total = self._seconds.setdefault(facts.dialect, ([0] * (len(BUCKETS_S) + 1), [0.0]))
        took = max(clock.now() - call.started_at, 0.0)
        counts[bisect_left(BUCKETS_S, took)] += 1
        total[0] += took

    def text(self) -> str:
        """The exposition format."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry).decode()

    def collect(self) -> Iterator[Metric]:
        """The metrics, for `prometheus_client`."""
        yield from self._counters()
        yield from self._gauges()
        yield self._durations()

    def _counters(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily as Family

        calls = Family("eavs_calls", "Calls that ended", labels=["provider", "dialect", "outcome", "status"])
        tokens = Family("eavs_tokens", "Tokens billed", labels=["provider", "class"])
        cost = Family("eavs_cost_usd", "Money spent", labels=["provider"])
        estimated = Family("eavs_estimated_calls", "Calls billed by estimate", labels=["provider"])
        refused = Family("eavs_refusals", "Calls that reached no provider", labels=["reason"])
        for labels, count in self._calls.items():
            calls.add_metric(labels, count)
        for pair, count in self._tokens.items():
            tokens.add_metric(pair, count)
        for family, counts in ((cost, self._cost), (estimated, self._estimated), (refused, self.refused)):
            for label, count in counts.items():
                family.add_metric([label], count / 1e9 if family is cost else count)
        yield from (calls, tokens, cost, estimated, refused)

    def _gauges(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily as Family

        wallets = self._ledger.wallets
        yield Family(
            "eavs_open_calls", "Calls in flight", value=sum(len(w.open_calls) for w in wallets.values())
        )
        yield Family("eavs_held_usd", "Money set aside for them", value=wallets["platform"].held / 1e9)
        yield Family(
            "eavs_sessions",
            "Sessions with a wallet",
            value=sum(w.kind == "session" for w in wallets.values()),
        )
        yield Family("eavs_ledger_waiting", "Rows that wait for the disk", value=self._store.waiting)
        yield Family(
            "eavs_ledger_ok", "Whether the ledger can be written", value=float(not self._store.failure)
        )

    def _durations(self) -> Metric:
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(
            "eavs_call_seconds", "From the start of a call to its bill", labels=["dialect"]
        )
        for dialect, (counts, (total,)) in self._seconds.items():
            running, buckets = 0, []
            for edge, count in zip([*map(str, BUCKETS_S), "+Inf"], counts, strict=True):
                running += count
                buckets.append((edge, running))
            family.add_metric([dialect], buckets, total)
        return family
