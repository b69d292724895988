"""
Numbers for Prometheus. A call adds to plain dictionaries; the text is made when somebody asks.

No label names a person, a session or a key.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Any

from oqto_platform import clock

from .control import MetricsReply, Number
from .wallets import PLATFORM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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

    def reply(self) -> MetricsReply:
        """All of it, as numbers and as text."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        return MetricsReply(numbers=self.numbers(), text=generate_latest(registry).decode())

    def numbers(self) -> list[Number]:
        """The counters and gauges."""
        return [*self._counters(), *self._gauges()]

    def _counters(self) -> Iterator[Number]:
        labels = ("provider", "dialect", "outcome", "status")
        yield _counter("calls", "Calls that ended", labels, self._calls)
        yield _counter("tokens", "Tokens billed", ("provider", "class"), self._tokens)
        spent = {(name,): nusd / 1e9 for name, nusd in self._cost.items()}
        yield _counter("cost_usd", "Money spent", ("provider",), spent)
        yield _counter("estimated_calls", "Calls billed by estimate", ("provider",), _single(self._estimated))
        yield _counter("refusals", "Calls that reached no provider", ("reason",), _single(self.refused))

    def _gauges(self) -> Iterator[Number]:
        wallets = self._ledger.wallets
        yield _gauge("open_calls", "Calls in flight", sum(len(w.open_calls) for w in wallets.values()))
        yield _gauge("held_usd", "Money set aside for them", wallets[PLATFORM].held / 1e9)
        yield _gauge("sessions", "Sessions with a wallet", sum(w.kind == "session" for w in wallets.values()))
        yield _gauge("ledger_waiting", "Rows that wait for the disk", self._store.waiting)
        yield _gauge("ledger_ok", "Whether the ledger can be written", not self._store.failure)

    def collect(self) -> Iterator[Metric]:
        """The metrics, for `prometheus_client`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for number in self.numbers():
            kind = CounterMetricFamily if number.kind == "counter" else GaugeMetricFamily
            family = kind(f"eavs_{number.name}", number.help, labels=number.labels)
            for values, sample in number.samples:
                family.add_metric(values, sample)
            yield family
        yield self._durations()

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


def _counter(name: str, words: str, labels: tuple[str, ...], samples: Mapping[Any, float]) -> Number:
    return Number(name=name, kind="counter", help=words, labels=labels, samples=list(samples.items()))


def _gauge(name: str, words: str, value: float) -> Number:
    return Number(name=name, kind="gauge", help=words, samples=[((), float(value))])


def _single(counts: Counter[str]) -> dict[tuple[str, ...], float]:
    return {(name,): count for name, count in counts.items()}
