"""The audit log moves to another file, by a changed configuration or by hand: one chain across all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from oqto_platform.audit import AuditLog, places, query
from oqto_platform.audit.events import SignedIn
from oqto_platform.audit.files import older
from oqto_platform.audit.verify import verify
from oqto_platform.errors import ConfigError


@pytest.fixture
def seal(tmp_path):
    return tmp_path / "state" / "audit.seal"


@pytest.fixture
def first(tmp_path, seal):
    return tmp_path / "state" / "audit.log.jsonl"


@pytest.fixture
def second(tmp_path):
    return tmp_path / "elsewhere" / "audit.jsonl"


def write(log, count=3):
    for _ in range(count):
        log(SignedIn(actor="ada", address="x"))


def events(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]


def is_whole(path, seal):
    report = verify(path, seal)
    assert report.findings == []
    return report.records


def test_the_old_file_says_where_it_goes_on_and_the_new_one_where_it_comes_from(first, second, seal):
    log = AuditLog(first, seal)
    write(log)
    log.settle(second, max_mb=1)
    write(log)
    assert log.path == second
    assert events(first) == ["sign-in"] * 3 + ["audit.moved"]
    assert events(second) == ["audit.continued"] + ["sign-in"] * 3
    assert json.loads(first.read_text().splitlines()[-1])["fields"] == {"to": str(second)}
    assert json.loads(second.read_text().splitlines()[0])["fields"] == {"source": str(first)}
    assert is_whole(second, seal) == 8
    newest = [record.seq for record in islice(query.backwards(second, seal), 8)]
    assert newest == list(range(8, 0, -1)), "both files are looked through"


def test_back_again_and_with_full_files_in_between(first, second, seal):
    log = AuditLog(first, seal, max_mb=0.0012)
    for path in (second, first, second, first):
        write(log, 12)
        log.settle(path, max_mb=0.0012)
    write(log, 12)
    assert len(older(first)) > 3
    assert is_whole(first, seal) == 5 * 12 + 4 * 2
    assert is_whole(AuditLog(first, seal).path, seal)


def test_a_change_of_the_configuration_while_nothing_runs(first, second, seal):
    write(AuditLog(first, seal))
    write(AuditLog(second, seal))
    assert events(second) == ["audit.continued"] + ["sign-in"] * 3
    assert is_whole(second, seal) == 8


def test_a_log_that_somebody_took_to_its_new_place_by_hand(first, second, seal):
    write(AuditLog(first, seal))
    second.parent.mkdir()
    first.rename(second)
    write(AuditLog(second, seal))
    assert is_whole(second, seal) == 6


def test_a_worker_that_has_not_heard_yet_goes_on_in_the_new_file(first, second, seal):
    fast, slow = AuditLog(first, seal), AuditLog(first, seal)
    write(slow)
    fast.settle(second, max_mb=1)
    write(slow)
    assert slow.path == second
    slow.settle(second, max_mb=1)
    write(fast)
    assert events(second).count("audit.continued") == 1
    assert is_whole(second, seal) == 11


def test_what_was_taken_away_before_the_move_is_found_after_it(first, second, seal):
    log = AuditLog(first, seal)
    write(log, 5)
    log.settle(second, max_mb=1)
    write(log)
    lines = first.read_text().splitlines(keepends=True)
    first.write_text("".join(lines[:3]))
    assert verify(second, seal).findings[0].what == "records 4 to 6 are missing"
    first.unlink()
    assert verify(second, seal).findings[0].what == "records 1 to 6 are missing"


@pytest.mark.parametrize("content", ["my diary\n", '{"seq":1,"ts":1,"event":"sign-in","prev":"0"}\n'])
def test_a_file_of_somebody_else_is_not_written_into(first, second, seal, content):
    log = AuditLog(first, seal)
    write(log)
    second.parent.mkdir()
    second.write_text(content)
    with pytest.raises(ConfigError) as refused:
        log.settle(second, max_mb=1)
    assert refused.value.detail == (
        f"[logging] audit_file: {second} holds something else already; name another file, or move it away"
    )
    write(log)
    assert second.read_text() == content
    assert is_whole(first, seal) == 6


def test_a_place_that_cannot_be_written_leaves_all_as_it_is(first, seal):
    log = AuditLog(first, seal)
    with pytest.raises(ConfigError, match=r"cannot write /proc/audit\.jsonl"):
        log.settle(Path("/proc/audit.jsonl"), max_mb=1)
    write(log)
    assert is_whole(first, seal) == 3


def test_switched_off_and_on_again(first, seal):
    log = AuditLog(first, seal)
    write(log)
    log.settle(None, max_mb=1)
    write(log)
    assert log.path is None
    log.settle(first, max_mb=1)
    write(log)
    assert is_whole(first, seal) == 6


MOVER = """
import os, sys
from pathlib import Path
from oqto_platform.audit import AuditLog, chain, places
def die(*_): os._exit(9)
log = AuditLog(Path(sys.argv[1]), Path(sys.argv[3]))
setattr(*{"before": (places, "remember"), "after": (chain.Chain, "_write")}[sys.argv[4]], die)
log.settle(Path(sys.argv[2]), max_mb=1)
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("goes_on_at", ["first", "second"])
def test_a_writer_killed_while_it_moves_leaves_one_chain(first, second, seal, when, goes_on_at):
    write(AuditLog(first, seal))
    run = subprocess.run([sys.executable, "-c", MOVER, first, second, seal, when], timeout=60, check=False)
    assert run.returncode == 9
    path = {"first": first, "second": second}[goes_on_at]
    log = AuditLog(path, seal)
    write(log)
    log.settle(first, max_mb=1)
    write(log)
    assert is_whole(first, seal) >= 10


def test_places_below_the_seal_are_relative_so_that_a_copy_means_itself(first, second, seal):
    log = AuditLog(first, seal)
    log.settle(second, max_mb=1)
    assert places.all_of(seal) == [first, second]
    assert seal.with_suffix(".places").read_text() == f"audit.log.jsonl\n{second}\n"
