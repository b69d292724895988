"""Numbers of several workers add up, whichever is asked and however one ends; and Prometheus can read them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

from oqto_platform.hooks import HookCount, Hooks
from oqto_platform.metrics.counts import BOUNDS_S, Counts
from oqto_platform.metrics.exposition import written
from oqto_platform.metrics.hooks import metrics, of_runner
from oqto_platform.metrics.resets import Resets
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
shared = Shared(Path(sys.argv[1]), counts)
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
    return Shared(tmp_path, counts or Counts())


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


def moody(**numbers) -> HookCount:
    return HookCount(hook="session_stopped", plugin="moody", **numbers)


def test_what_hooks_did_adds_up_and_nobody_stays_switched_off_who_has_ended(tmp_path):
    here = moody(calls=3, failures=1, seconds=0.5, longest_block_s=0.1, skipped=1, off=1)
    there = moody(calls=4, failures=4, seconds=1.0, longest_block_s=0.2, last_failure="boom", off=1)
    ours, other = (Shared(tmp_path, Counts(), lambda count=count: [count]) for count in (here, there))
    other.write()
    (both,) = ours.together().hooks
    assert both == moody(
        calls=7, failures=5, seconds=1.5, longest_block_s=0.2, last_failure="boom", skipped=1, off=2
    )
    other.close()
    for _ in range(3):
        (left,) = ours.together().hooks
        assert (left.calls, left.failures, left.off) == (7, 5, 1)


def test_a_plugin_of_both_sides_has_two_series():
    looked_up = metrics([moody(calls=1)], [moody(calls=2, off=1)])
    text, _ = body(looked_up=looked_up)
    found = samples(text)
    assert found["oqto_hook_calls_total", "core", "moody", "session_stopped"] == 1
    assert found["oqto_hook_calls_total", "runner", "moody", "session_stopped"] == 2
    assert found["oqto_hook_off", "runner", "moody", "session_stopped"] == 1


class TalkativeRunner:
    """What somebody else's process may say about itself."""

    def __init__(self, *counts: HookCount) -> None:
        self.counts = list(counts)

    async def hooks(self) -> list[HookCount]:
        return self.counts


async def test_what_a_runner_makes_up_gets_into_no_answer():
    good = moody(calls=1)
    bad = [
        HookCount(hook="no_such_hook", plugin="moody"),
        HookCount(hook="session_stopped", plugin='x"} 1\noqto_up 0'),
        moody(calls=-1),
        moody(seconds=float("inf")),
    ]
    services = SimpleNamespace(hooks=Hooks("core"), runner=TalkativeRunner(*bad, good))
    assert await of_runner(services) == [good]
    services.runner = TalkativeRunner(*[good] * 5_000)
    assert len(await of_runner(services)) <= 2_000


def test_a_reset_is_carried_out_once_by_everybody_who_was_there(tmp_path):
    heard = {"a": [], "b": [], "late": []}
    asker, follower = (Resets(tmp_path, heard[name].append) for name in ("a", "b"))
    first = asker.ask("moody")
    late = Resets(tmp_path, heard["late"].append)
    second = asker.ask("weather")
    for one in (asker, follower, late):
        one.follow()
        one.follow()
        assert one.seen == second == first + 1
    assert heard == {"a": ["moody", "weather"], "b": ["moody", "weather"], "late": ["weather"]}
    assert asker.ask("moody") == second + 1
    follower.follow()
    assert heard["b"] == ["moody", "weather", "moody"]


def test_a_damaged_list_of_resets_resets_nothing(tmp_path):
    heard = []
    resets = Resets(tmp_path, heard.append)
    (tmp_path / "resets.json").write_text('{"last": 3, "plug')
    resets.follow()
    assert (heard, resets.seen) == ([], 0)
    assert resets.ask("moody") == 1
    resets.follow()
    assert heard == ["moody"]
