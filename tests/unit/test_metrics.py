"""Numbers of several workers add up, whichever is asked and however one ends; and Prometheus can read them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

from oqto_platform.metrics.counts import BOUNDS_S, Counts
from oqto_platform.metrics.exposition import written
from oqto_platform.metrics.shared import Numbers, Shared
from oqto_platform.types import Metric

WORKER = """
import sys
from pathlib import Path
from oqto_platform.metrics.counts import Counts
from oqto_platform.metrics.shared import Shared

counts = Counts()
counts.add("oqto_events_relayed", amount=int(sys.argv[2]))
counts.add("oqto_mux_connections")
counts.observe("oqto_http_request_seconds", ("/x",), 0.02)
shared = Shared(Path(sys.argv[1]), counts, lambda: None)
shared.write()
print("ready", flush=True)
sys.stdin.readline()
shared.close()
"""


@pytest.fixture
def spawn(tmp_path):
    workers = []

    def start(amount: int) -> subprocess.Popen:
        command = [sys.executable, "-c", WORKER, str(tmp_path), str(amount)]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        workers.append(worker)
        assert worker.stdout.readline() == b"ready\n"
        return worker

    yield start
    for worker in workers:
        worker.kill()
        worker.communicate()


def shared_of(tmp_path, counts=None) -> Shared:
    return Shared(tmp_path, counts or Counts(), lambda: None)


def total(shared: Shared, metric: str = "oqto_events_relayed") -> float:
    return shared.together().values.get(metric, {}).get("", 0)


def test_workers_add_up_and_a_worker_that_ends_takes_nothing_away(tmp_path, spawn):
    counts = Counts()
    counts.add("oqto_events_relayed", amount=1)
    ours = shared_of(tmp_path, counts)
    orderly, killed = spawn(10), spawn(100)
    assert total(ours) == 111
    assert ours.together().workers == 3
    assert total(ours, "oqto_mux_connections") == 2
    orderly.communicate(b"\n")
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    for _ in range(3):
        assert total(ours) == 111, "whatever was asked before"
        assert total(ours, "oqto_mux_connections") == 0, "gauges end with their worker"
        assert ours.together().workers == 1
    assert ours.together().buckets["oqto_http_request_seconds"]["/x"][2] == 2
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".alive", ".json", ".json"]
    counts.add("oqto_events_relayed", amount=1)
    assert total(ours) == 112


def test_a_reader_killed_while_it_adds_up_counts_nobody_twice(tmp_path, spawn, monkeypatch):
    ours = shared_of(tmp_path)
    spawn(10).communicate(b"\n")
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ours.together()
    assert total(ours) == 10
    assert total(ours) == 10


def test_a_damaged_file_is_no_number_and_no_failure(tmp_path):
    ours = shared_of(tmp_path)
    (tmp_path / "total.json").write_bytes(b'{"values": {"oqto_events_rel')
    assert total(ours) == 0


def body(numbers=None, looked_up=(), of_plugins=None, accept=""):
    text, content_type = written(numbers or Numbers(), looked_up, of_plugins or {}, accept)
    return text.decode(), content_type


def samples(text: str, parse=classic) -> dict:
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels, reverse=True))): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def numbers() -> Numbers:
    counts = Counts()
    counts.add("oqto_http_requests", ("GET", "/api/sessions/{session_id}", "200"), 3)
    for seconds in (0.001, 0.004, 0.3, 99):
        counts.observe("oqto_http_request_seconds", ("/x",), seconds)
    values = {name: {"\n".join(k): v for k, v in rows.items()} for name, rows in counts.values.items()}
    buckets = {name: {"\n".join(k): v for k, v in rows.items()} for name, rows in counts.buckets.items()}
    return Numbers(values=values, buckets=buckets)


@pytest.mark.parametrize(("accept", "parse"), [("", classic), ("application/openmetrics-text; version=1.0.0", openmetrics)])  # fmt: skip
def test_prometheus_reads_what_we_write(accept, parse):
    text, content_type = body(numbers(), accept=accept)
    found = samples(text, parse)
    assert found["oqto_http_requests_total", "200", "/api/sessions/{session_id}", "GET"] == 3
    assert found["oqto_http_request_seconds_bucket", "/x", "0.005"] == 2
    assert found["oqto_http_request_seconds_bucket", "/x", "0.5"] == 3
    assert found["oqto_http_request_seconds_bucket", "/x", "+Inf"] == 4
    assert found["oqto_http_request_seconds_count", "/x"] == 4
    assert found["oqto_http_request_seconds_sum", "/x"] == pytest.approx(99.305)
    assert content_type.startswith("application/openmetrics-text" if accept else "text/plain")


def test_numbers_of_plugins_have_their_name():
    spent = Metric(name="spent_usd", kind="counter", help="Money.", labels=("provider",), samples={('a\n"b',): 2.5})  # fmt: skip
    text, _ = body(of_plugins={"eavs": [spent]})
    assert samples(text)["oqto_eavs_spent_usd_total", 'a\n"b'] == 2.5


def test_every_bound_is_in_order():
    assert list(BOUNDS_S) == sorted(BOUNDS_S)
