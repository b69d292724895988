"""`oqtoctl audit`: verify, tail, query and export a log, whether a server runs or not."""

from __future__ import annotations

import csv
import io
import json
import stat
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from oqto_platform.audit import AuditLog
from oqto_platform.audit.events import SessionEnded, SessionStarted, SignedIn
from oqto_platform.cli import root
from oqto_platform.errors import Conflict, Invalid, NotFound


@pytest.fixture
def path(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl", max_mb=0.001)
    log(SignedIn(actor="ada", address="127.0.0.1"))
    log(SignedIn(actor="=cmd()", address="127.0.0.1", outcome="refused"))
    for number in range(8):
        log(SessionStarted(actor="ada", session=f"ses_{number}", workspace="/w"))
    log(SessionEnded(session="ses_1", reason="idle", detail="\x1b[31mred\x07"))
    return log.path


def oqtoctl(*words, path=None):
    return CliRunner().invoke(root, ["audit", *words, *(["--file", str(path)] if path else [])])


def told(run) -> list[str]:
    assert run.exit_code == 0, run.exception
    return run.output.splitlines()


def test_verify_says_the_last_hash(path):
    run = oqtoctl("verify", path=path)
    head = path.read_bytes().splitlines()[-1]
    assert "11 records, unbroken; the last is 11 with hash " in run.output
    import hashlib

    assert hashlib.sha256(head).hexdigest() in run.output


def test_verify_names_what_is_wrong_and_fails(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0].replace(b"ses_", b"SES_"), *lines[1:]]))
    run = oqtoctl("verify", path=path)
    assert isinstance(run.exception, Conflict)
    assert "is not what was written" in run.output
    run = CliRunner().invoke(root, ["--json", "audit", "verify", "--file", str(path)])
    assert run.exit_code == 1
    assert json.loads(run.output)["findings"]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ([], 11),
        (["--actor", "ada"], 9),
        (["--action", "session"], 9),
        (["--action", "session.ended"], 1),
        (["--action", "sess"], 0),
        (["--session", "ses_1"], 2),
        (["--outcome", "refused"], 1),
        (["--text", "IDLE"], 1),
        (["--since", "1h"], 11),
        (["--since", "2100-01-01"], 0),
        (["--until", "2001-01-01T12:00"], 0),
        (["-n", "3"], 3),
    ],
)
def test_query(path, options, count):
    assert len(told(oqtoctl("query", *options, path=path))) == count


def test_a_line_cannot_command_the_terminal(path):
    (line,) = told(oqtoctl("query", "--action", "session.ended", path=path))
    assert "\x1b" not in line
    assert "\x07" not in line
    assert "red" in line


def test_a_time_that_is_none_is_said_so(path):
    run = oqtoctl("query", "--since", "yesterday", path=path)
    assert isinstance(run.exception, Invalid)
    assert "'yesterday' is no time; write" in run.exception.detail


def test_tail_shows_the_newest_last(path):
    lines = told(oqtoctl("tail", "-n", "2", path=path))
    assert [line.split()[0] for line in lines] == ["10", "11"]


def test_tail_follows_across_files(path):
    command = [
        sys.executable,
        "-c",
        "from oqto_platform.cli import main; main()",
        "audit",
        "tail",
        "-n",
        "1",
        "-f",
    ]
    with subprocess.Popen([*command, "--file", str(path)], stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout.readline().split()[0] == "11"
        log = AuditLog(path, max_mb=0.001)
        for _ in range(10):
            log(SignedIn(actor="bob", address="x"))
        assert [tail.stdout.readline().split()[0] for _ in range(10)] == [
            str(number) for number in range(12, 22)
        ]
        tail.terminate()


def test_an_export_for_a_spreadsheet_holds_no_formula(path):
    rows = list(
        csv.DictReader(io.StringIO(oqtoctl("export", "--format", "csv", path=path).stdout_bytes.decode()))
    )
    assert [row["seq"] for row in rows] == [str(number) for number in range(1, 12)]
    assert rows[1]["actor"] == "'=cmd()"
    assert datetime.fromisoformat(rows[0]["time"]).tzinfo == UTC
    assert json.loads(rows[10]["fields"])["reason"] == "idle"


def test_an_export_as_lines_can_be_verified_again(path, tmp_path):
    copy = tmp_path / "copy.jsonl"
    told(oqtoctl("export", "--output", str(copy), path=path))
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert "11 records, unbroken" in oqtoctl("verify", path=copy).output
    run = oqtoctl("export", "--output", str(copy), path=path)
    assert isinstance(run.exception, Conflict), "nothing is overwritten"


@pytest.mark.parametrize(("options", "count"), [([], 11), (["--actor", "nobody"], 0)])
def test_an_export_as_json_is_one_document(path, options, count):
    assert len(json.loads(oqtoctl("export", "--format", "json", *options, path=path).stdout_bytes)) == count


def test_there_is_no_log(tmp_path, monkeypatch):
    assert isinstance(oqtoctl("tail", path=tmp_path / "none").exception, NotFound)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OQTO__LOGGING__AUDIT_ENABLED", "false")
    run = oqtoctl("verify")
    assert "switched off" in run.exception.detail
