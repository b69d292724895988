"""Numbers in Prometheus' words, by its client library; imported when somebody asks, not before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from oqto_platform import slim
from oqto_platform.metrics.counts import BOUNDS_S, FAMILIES, Family
from oqto_platform.metrics.shared import Numbers

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as PrometheusMetric

    from oqto_platform.types import Metric


def written(
    numbers: Numbers, looked_up: Iterable[Metric], of_plugins: Mapping[str, Sequence[Metric]], accept: str
) -> tuple[bytes, str]:
    """The body and its content type, in the newest format that `accept` takes."""
    with slim.without("twisted", "snappy", "django"):
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.registry import Collector

    class Together(Collector):
        def collect(self) -> Iterator[PrometheusMetric]:
            yield from _counted(numbers)
            yield from (
                _plain(one.name, Family(one.kind, one.help, one.labels), one.samples) for one in looked_up
            )
            for plugin, metrics in of_plugins.items():
                for one in metrics:
                    name = f"oqto_{plugin}_{one.name}"
                    yield _plain(name, Family(one.kind, one.help, one.labels), one.samples)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Together())
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _counted(numbers: Numbers) -> Iterator[PrometheusMetric]:
    for name, family in FAMILIES.items():
        if family.kind == "histogram":
            yield _histogram(name, family, numbers.buckets.get(name, {}))
        else:
            series = numbers.values.get(name, {})
            yield _plain(name, family, {_labels(text): value for text, value in series.items()})


def _plain(name: str, family: Family, samples: Mapping[tuple[str, ...], float]) -> PrometheusMetric:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(name, family.help, labels=family.labels)
    for labels, value in samples.items():
        metric.add_metric(labels, value)
    return metric


def _histogram(name: str, family: Family, rows: Mapping[str, list[float]]) -> PrometheusMetric:
    from prometheus_client.metrics_core import HistogramMetricFamily

    metric = HistogramMetricFamily(name, family.help, labels=family.labels)
    for text, row in rows.items():
        *filled, total = row
        upto = [sum(filled[: number + 1]) for number in range(len(filled))]
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        metric.add_metric(_labels(text), list(zip(bounds, upto, strict=True)), sum_value=total)
    return metric


def _labels(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()
