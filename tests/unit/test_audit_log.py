"""The chain of the audit log: nobody edits it unseen, and several workers append to one chain."""

from __future__ import annotations

import json
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from oqto_platform.audit import AuditLog, verify
from oqto_platform.cli import root
from oqto_platform.errors import ConfigError, Conflict


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "state" / "audit.log.jsonl"
    log = AuditLog(path)
    for number in range(5):
        log("sign-in", actor="ada", target=f"acc_{number}", address="127.0.0.1")
    log.close()
    return path


def rewrite(path, change):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(change(lines)))


def test_a_whole_chain_is_counted(path):
    assert verify(path) == 5
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records[0]["prev"] == "0" * 64
    assert [record["target"] for record in records] == [f"acc_{n}" for n in range(5)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: [lines[0], lines[1].replace(b"ada", b"bob"), *lines[2:]], 3),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3),
        (lambda lines: [*lines[:2], lines[1].replace(b"acc_1", b"acc_9"), *lines[2:]], 3),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1),
        (lambda lines: [*lines[:2], b"\n", *lines[2:]], 3),
        (lambda lines: [*lines[:2], b"not json\n", *lines[2:]], 3),
        (lambda lines: [*lines[:4], lines[4][:-20]], 5),
    ],
    ids=["changed", "removed", "first removed", "doubled", "inserted", "swapped", "blank", "no json", "cut"],
)
def test_whatever_is_done_to_a_line_is_found_with_its_number(path, change, line):
    rewrite(path, change)
    with pytest.raises(ValueError, match=rf"audit.log.jsonl: line {line} "):
        verify(path)


def test_oqtoctl_tells_it_in_a_sentence(path):
    run = CliRunner().invoke(root, ["audit", "verify", "--file", str(path)])
    assert run.output == f"{path}: 5 records, unbroken\n"
    rewrite(path, lambda lines: [b"not json\n", *lines])
    run = CliRunner().invoke(root, ["audit", "verify", "--file", str(path)])
    assert isinstance(run.exception, Conflict)
    assert "line 1 " in run.exception.detail


WRITER = """
import sys
from pathlib import Path
from oqto_platform.audit import AuditLog

log = AuditLog(Path(sys.argv[1]))
for number in range(300):
    log("step", actor=sys.argv[2], number=number, text="x" * number)
"""


def test_two_workers_write_one_chain_without_a_fork(tmp_path):
    path = tmp_path / "audit.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert verify(path) == 600
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for name in ("one", "two"):
        assert [r["fields"]["number"] for r in records if r["actor"] == name] == list(range(300))


def test_the_chain_goes_on_after_a_restart(path):
    log = AuditLog(path)
    log("again", reason="line\nbreak \u2028 and \x00")
    log.close()
    assert verify(path) == 6


def test_a_long_record_does_not_break_the_chain(path):
    log = AuditLog(path)
    log("long", text="x" * 200_000)
    log("after")
    log.close()
    assert verify(path) == 7


def test_a_log_that_cannot_be_written_stops_the_start(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigError, match=r"\[logging\] audit_file: cannot write .*set audit_enabled = false"
    ):
        AuditLog(tmp_path / "file" / "audit.jsonl")


def test_switched_off_it_writes_nothing(tmp_path):
    log = AuditLog(None)
    log("sign-in", actor="ada")
    log.close()
    assert list(tmp_path.iterdir()) == []
