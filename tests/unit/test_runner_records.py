"""Records of runners in the audit log: each once, marked as told by a runner, whatever the runner says."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from oqto_platform import wire
from oqto_platform.audit import AuditLog
from oqto_platform.errors import RunnerUnavailable
from oqto_platform.runners.records import RunnerRecords


class Runner:
    """Holds batches as the real one does; forgets one only when it is kept."""

    def __init__(self, *batches):
        self.address = SimpleNamespace(socket="/run/x.sock", principal=SimpleNamespace(name="ada"))
        self.batches = {str(number): list(batch) for number, batch in enumerate(batches, 1)}
        self.asked = 0
        self.dies_after = None

    async def take_audit(self, kept):
        self.asked += 1
        self.batches.pop(kept, None)
        if self.dies_after is not None and self.asked > self.dies_after:
            raise RunnerUnavailable("gone")
        name = min(self.batches, default="")
        return wire.AuditBatch(batch=name, records=self.batches.get(name, []))


def egress(number, **more):
    return {
        "ts": 1000 + number,
        "plugin": "sandbox",
        "event": "egress",
        "session": "ses_1",
        "host": f"h{number}",
    } | more


def records_of(log):
    return [json.loads(line) for line in log.path.read_text().splitlines()] if log.path.exists() else []


@pytest.fixture
def bring(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")

    async def once(runner, accounts=("acc_1",), worker=None):
        async def live():
            return accounts

        worker = worker or RunnerRecords(log, live, lambda _account: runner)
        await worker.round()
        return worker

    once.log = log
    return once


async def test_every_batch_is_brought_and_let_go(bring):
    runner = Runner([egress(1, outcome="refused"), egress(2)], [egress(3)])
    await bring(runner)
    found = records_of(bring.log)
    assert [record["fields"]["host"] for record in found] == ["h1", "h2", "h3"]
    assert runner.batches == {}
    first = found[0]
    assert (first["event"], first["session"], first["outcome"]) == ("sandbox.egress", "ses_1", "refused")
    assert (first["actor"], first["door"], first["fields"]["at_ms"]) == ("ada", "runner", 1001)


async def test_what_a_crash_left_in_the_runner_is_not_recorded_twice(bring):
    runner = Runner([egress(1), egress(2)], [egress(3)])
    runner.dies_after = 1
    await bring(runner)
    assert len(records_of(bring.log)) == 2
    runner.batches["1"], runner.dies_after = [egress(1), egress(2)], None
    await bring(runner)
    assert [record["fields"]["host"] for record in records_of(bring.log)] == ["h1", "h2", "h3"]


async def test_a_runner_that_pretends_to_be_the_core_is_told_apart(bring):
    lies = [
        {"plugin": "sign-in", "event": "x", "actor": "root", "door": "password"},
        {"plugin": "a\nb", "event": "c"},
        {"event": "d" * 500},
        {"plugin": "sandbox", "event": "sandbox lost", "detail": "sk-CANARY-0123456789"},
    ]
    await bring(Runner(lies))
    found = records_of(bring.log)
    assert {record["door"] for record in found} == {"runner"}
    assert {record["actor"] for record in found} == {"ada"}
    assert [record["event"] for record in found] == ["sign-in.x", "runner.unreadable", "runner.unreadable", "sandbox.sandbox_lost"]  # fmt: skip
    assert "CANARY" not in bring.log.path.read_text()


async def test_runners_are_left_alone_while_nobody_has_a_session_but_asked_once_more(bring):
    runner = Runner()
    await bring(runner, accounts=())
    assert runner.asked == 0
    accounts = ["acc_1"]
    worker = await bring(runner, accounts=accounts)
    accounts.clear()
    await worker.round()
    assert runner.asked == 2
    await worker.round()
    assert runner.asked == 2
