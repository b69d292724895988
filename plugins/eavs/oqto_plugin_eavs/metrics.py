"""
Numbers for Prometheus. A call adds to plain dictionaries; the text is made when somebody asks.

No label names a person, a session or a key.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .control import MetricsReply, Number
from .wallets import PLATFORM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from .ledger import Bill, Ledger
    from .store import Store
    from .wallets import Call

BUCKETS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class _Sum:
    """What calls of one kind came to."""

    __slots__ = ("calls", "cost", "estimated", "input", "output", "seconds", "tokens", "within")

    def __init__(self) -> None:
        self.calls = self.cost = self.estimated = self.input = self.output = 0
        self.tokens: Counter[str] = Counter()
        self.seconds, self.within = 0.0, [0] * (len(BUCKETS_S) + 1)


class Metrics:
    """What was answered, refused and spent since the start, and what is going on."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger, self._store = ledger, store
        self._sums: defaultdict[tuple[str, str, str, int], _Sum] = defaultdict(_Sum)
        self.refused: Counter[str] = Counter()
        ledger.on_bill.append(self._billed)

    def _billed(self, call: Call, bill: Bill, now: float) -> None:
        facts, tokens, took_s = call.facts, bill.tokens, max(now - call.started_at, 0.0)
        found = self._sums[facts.provider, facts.dialect, bill.outcome, bill.status]
        found.calls += 1
        found.cost += bill.cost
        found.estimated += bill.is_estimated
        found.input += tokens.input
        found.output += tokens.output
        found.seconds += took_s
        found.within[bisect_left(BUCKETS_S, took_s)] += 1
        if tokens.cache_read or tokens.cache_write or tokens.cache_write_1h:
            found.tokens["cache_read"] += tokens.cache_read
            found.tokens["cache_write"] += tokens.cache_write
            found.tokens["cache_write_1h"] += tokens.cache_write_1h

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
        calls = {(*kind, str(status)): found.calls for (*kind, status), found in self._sums.items()}
        yield _counter("calls", "Calls that ended", labels, calls)
        yield _counter("tokens", "Tokens billed", ("provider", "class"), self._tokens())
        spent = self._by_provider(lambda found: found.cost)
        yield _counter(
            "cost_usd", "Money spent", ("provider",), {name: nusd / 1e9 for name, nusd in spent.items()}
        )
        guessed = self._by_provider(lambda found: found.estimated)
        yield _counter("estimated_calls", "Calls billed by estimate", ("provider",), +guessed)
        yield _counter("refusals", "Calls that reached no provider", ("reason",), _single(self.refused))

    def _by_provider(self, amount: Callable[[_Sum], int]) -> Counter[tuple[str, ...]]:
        sums: Counter[tuple[str, ...]] = Counter()
        for (provider, *_), found in self._sums.items():
            sums[(provider,)] += amount(found)
        return sums

    def _tokens(self) -> Counter[tuple[str, str]]:
        tokens: Counter[tuple[str, str]] = Counter()
        for (provider, *_), found in self._sums.items():
            counts = {"input": found.input, "output": found.output, **found.tokens}
            for name, count in counts.items():
                tokens[provider, name] += count
        return +tokens

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
        for dialect in dict.fromkeys(kind[1] for kind in self._sums):
            sums = [found for kind, found in self._sums.items() if kind[1] == dialect]
            counts = [sum(column) for column in zip(*(found.within for found in sums), strict=True)]
            edges = zip([*map(str, BUCKETS_S), "+Inf"], accumulate(counts), strict=True)
            family.add_metric([dialect], list(edges), sum(found.seconds for found in sums))
        return family


def _counter(name: str, words: str, labels: tuple[str, ...], samples: Mapping[Any, float]) -> Number:
    return Number(name=name, kind="counter", help=words, labels=labels, samples=list(samples.items()))


def _gauge(name: str, words: str, value: float) -> Number:
    return Number(name=name, kind="gauge", help=words, samples=[((), float(value))])


def _single(counts: Counter[str]) -> dict[tuple[str, ...], float]:
    return {(name,): count for name, count in counts.items()}
