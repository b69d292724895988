"""The chain of the audit log: nobody edits it unseen, several workers append to one chain, kills do not break it."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from oqto_platform.audit import AuditLog, acting
from oqto_platform.audit.events import SessionStopped, SignedIn
from oqto_platform.audit.files import older
from oqto_platform.audit.verify import verify
from oqto_platform.errors import AuditUnwritable, ConfigError
from oqto_platform.types import AccountId, Identity

CANARY = "CANARY-abcdefghijklmnop"


def signed_in(number: int = 0) -> SignedIn:
    return SignedIn(actor="ada", target=f"acc_{number}", address="127.0.0.1")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "state" / "audit.log.jsonl"
    log = AuditLog(path)
    for number in range(5):
        log(signed_in(number))
    return path


def seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.seal")


def report_of(path: Path):
    return verify(path, seal_of(path))


def whats(path: Path) -> list[str]:
    return [finding.what for finding in report_of(path).findings]


def records(path: Path) -> list[dict]:
    return [json.loads(line) for file in (*older(path), path) for line in file.read_text().splitlines()]


def test_a_whole_chain_is_counted(path):
    report = report_of(path)
    assert (report.records, report.last, report.findings, report.notes) == (5, 5, [], [])
    found = records(path)
    assert found[0]["prev"] == "0" * 64
    assert [record["target"] for record in found] == [f"acc_{n}" for n in range(5)]
    assert [record["seq"] for record in found] == [1, 2, 3, 4, 5]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(seal_of(path).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda lines: [lines[0], lines[1].replace(b"ada", b"bob"), *lines[2:]], "record 2 is not what was written"),
        (lambda lines: [*lines[:4], lines[4].replace(b"ada", b"bob")], "record 5 is not what was written"),
        (lambda lines: [lines[0], *lines[2:]], "record 2 is missing"),
        (lambda lines: lines[1:], "record 1 is missing"),
        (lambda lines: lines[:3], "records 4 to 5 are missing at the end"),
        (lambda lines: [], "records 1 to 5 are missing at the end"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], "record 2 stands after record 2: moved or doubled"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "record 1 stands after record 2: moved or doubled"),
        (lambda lines: [*lines[:2], b"\n", *lines[2:]], "this is not a record"),
        (lambda lines: [*lines[:2], b"not json\n", *lines[2:]], "this is not a record"),
        (lambda lines: [*lines[:4], lines[4][:-20]], "record 5 is missing at the end"),
        (lambda lines: [*lines, lines[4], lines[4]], "record 5 stands after record 5: moved or doubled"),
    ],
    ids=["changed", "last changed", "removed", "first removed", "cut", "emptied", "doubled", "swapped", "blank",
         "no json", "torn", "appended"],
)  # fmt: skip
def test_whatever_is_done_to_a_line_is_found_and_named(path, change, named):
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    assert named in " | ".join(whats(path))


def test_what_was_cut_off_is_still_missing_after_the_server_has_gone_on(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    log = AuditLog(path)
    log(signed_in(9))
    assert [record["seq"] for record in records(path)] == [1, 2, 3, 6, 7]
    assert records(path)[3]["event"] == "audit.broken"
    assert records(path)[3]["fields"] == {"sealed": 5, "found": 3}
    assert "records 4 to 5 are missing" in whats(path)


def test_a_log_without_its_seal_says_so_from_then_on(path):
    seal_of(path).unlink()
    assert "there is no seal" in whats(path)[0]
    AuditLog(path)(signed_in())
    assert records(path)[5]["event"] == "audit.unsealed"
    assert "record 6 says: the seal was missing" in whats(path)[0]


def test_a_forged_seal_is_found(path):
    seal_of(path).write_text(f"{4:020d} {'a' * 64}\n")
    AuditLog(path)(signed_in())
    assert [record["event"] for record in records(path)][5:] == ["audit.broken", "sign-in"]
    assert whats(path)


def test_a_line_that_was_never_finished_is_cut_off_and_told(path):
    with path.open("ab") as file:
        file.write(b'{"seq":6,"ts":17')
    report = report_of(path)
    assert report.is_whole
    assert report.notes == ["the last line is not finished (16 bytes); the next record tells it"]
    AuditLog(path)(signed_in())
    assert report_of(path).is_whole
    assert records(path)[5]["event"] == "audit.repaired"
    assert records(path)[5]["fields"] == {"torn_bytes": 16}


def test_a_writer_killed_before_it_sealed_left_nothing_wrong(path):
    before = seal_of(path).read_bytes()
    AuditLog(path)(signed_in())
    seal_of(path).write_bytes(before)
    assert report_of(path).is_whole
    AuditLog(path)(signed_in())
    assert [record["event"] for record in records(path)] == ["sign-in"] * 7
    assert report_of(path).is_whole


def test_a_chain_from_before_there_were_numbers_goes_on(tmp_path):
    path = tmp_path / "audit.jsonl"
    AuditLog(path)(signed_in())
    old = json.loads(path.read_text())
    del old["seq"]
    path.write_text(json.dumps(old) + "\n")
    seal_of(path).unlink()
    AuditLog(path)(signed_in())
    assert [record.get("seq") for record in records(path)] == [None, 2, 3]
    assert records(path)[1]["event"] == "audit.unsealed"


def test_a_full_file_is_left_alone_and_the_chain_goes_on_in_the_next(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, max_mb=0.001)
    for number in range(40):
        log(signed_in(number))
    assert len(older(path)) > 3
    assert all(file.stat().st_size < 2000 for file in older(path))
    assert [record["seq"] for record in records(path)] == list(range(1, 41))
    assert report_of(path).is_whole
    middle = older(path)[1]
    kept = middle.read_bytes()
    middle.unlink()
    first, last = json.loads(kept.splitlines()[0])["seq"], json.loads(kept.splitlines()[-1])["seq"]
    assert whats(path) == [f"records {first} to {last} are missing"]


def test_files_that_were_taken_away_on_purpose_are_no_break(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, max_mb=0.001)
    for number in range(20):
        log(signed_in(number))
    last = json.loads(older(path)[0].read_text().splitlines()[-1])["seq"]
    older(path)[0].unlink()
    assert whats(path) == [f"records 1 to {last} are missing"]
    assert verify(path, seal_of(path), first=last + 1).is_whole


WRITER = """
import sys
from pathlib import Path
from oqto_platform.audit import AuditLog
from oqto_platform.audit.events import SessionCommanded

log = AuditLog(Path(sys.argv[1]), max_mb=0.02)
for number in range(int(sys.argv[3])):
    log(SessionCommanded(actor=sys.argv[2], command="x" * (number % 300)))
"""


def writer(path, name, count):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(count)])


def test_workers_write_one_chain_without_a_fork_and_across_files(tmp_path):
    path = tmp_path / "audit.jsonl"
    writers = [writer(path, name, 200) for name in ("one", "two", "three")]
    assert [process.wait(60) for process in writers] == [0, 0, 0]
    assert report_of(path).is_whole
    assert report_of(path).records == 600
    assert len(older(path)) > 2


def test_a_killed_worker_leaves_a_chain_that_goes_on(tmp_path):
    path = tmp_path / "audit.jsonl"
    process = writer(path, "killed", 1_000_000)
    while not path.exists() or len(older(path)) < 2:
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    AuditLog(path)(signed_in())
    assert whats(path) == []
    assert records(path)[-1]["event"] == "sign-in"


def test_who_asks_stands_in_the_record(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    token = acting.set(Identity(account_id=AccountId("acc_1"), name="ada", door="bearer"))
    with structlog.contextvars.bound_contextvars(request="r1"):
        log(SessionStopped(session="ses_1"))
    acting.reset(token)
    (found,) = records(log.path)
    assert (found["actor"], found["account"], found["door"], found["session"], found["request"]) == (
        "ada",
        "acc_1",
        "bearer",
        "ses_1",
        "r1",
    )


def test_a_plugin_adds_records_of_its_own(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    log.of_plugin("weather", "forecast_set", {"target": "rome", "outcome": "refused", "degrees": 31})
    (found,) = records(log.path)
    assert (found["event"], found["target"], found["outcome"]) == ("weather.forecast_set", "rome", "refused")
    assert found["fields"] == {"degrees": 31}


def test_no_secret_gets_into_a_record(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    fields = {
        "api_key": CANARY,
        "env": {"password": CANARY},
        "line": f"sk-{CANARY}",
        "target": f"eavs-{CANARY}",
    }
    log.of_plugin("weather", "key_set", fields)
    assert CANARY not in log.path.read_text()


def test_a_record_that_somebody_made_huge_is_cut(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    log.of_plugin("weather", "said", {"text": "x" * 1_000_000, "target": "y" * 1_000_000})
    assert len(log.path.read_bytes()) < 20_000
    assert records(log.path)[0]["fields"]["is_cut"] is True


def test_auditing_can_be_switched_off():
    AuditLog(None)(signed_in())


def test_a_log_that_cannot_be_written_stops_the_start(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"\[logging\] audit_file: cannot write .*audit_enabled = false"):
        AuditLog(tmp_path / "folder")


def test_half_a_line_on_a_full_disk_is_taken_back(path, monkeypatch):
    log, real, before = AuditLog(path), os.write, path.read_bytes()

    def full(handle, data):
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, bytes(data[: len(data) - 50]))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(AuditUnwritable, match="No space left on device; free space"):
        log(signed_in())
    monkeypatch.undo()
    assert path.read_bytes() == before
    log(signed_in())
    assert report_of(path).is_whole
