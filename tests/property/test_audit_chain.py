"""Whatever is done to the lines of an audit log, wherever in its files, is found and named by its number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oqto_platform.audit import AuditLog
from oqto_platform.audit.events import SessionCommanded
from oqto_platform.audit.files import older
from oqto_platform.audit.verify import verify

PLENTY = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """25 records in several files."""
    path = tmp_path_factory.mktemp("whole") / "audit.jsonl"
    log = AuditLog(path, max_mb=0.0012)
    for number in range(25):
        log(SessionCommanded(session=f"ses_{number}", command="x" * (number * 7 % 40)))
    assert len(older(path)) >= 3
    return path


@pytest.fixture
def copy(whole, tmp_path):
    def fresh() -> Path:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(whole.parent, tmp_path / "copy")
        return tmp_path / "copy" / whole.name

    return fresh


def report_of(path: Path):
    return verify(path, path.with_name(f"{path.name}.seal"))


def files_of(path: Path) -> list[Path]:
    return [*older(path), path]


def numbers(file: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in file.read_bytes().splitlines()]


@PLENTY
@given(data=st.data())
def test_a_changed_byte(copy, data):
    path = copy()
    file = data.draw(st.sampled_from(files_of(path)))
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    touched = numbers(file)[bytes(file.read_bytes()[:at]).count(b"\n")]
    file.write_bytes(content)
    found = [finding.seq for finding in report_of(path).findings]
    assert found
    assert touched - 1 <= min(found) <= touched + 1


@PLENTY
@given(data=st.data())
def test_lines_that_are_removed_doubled_or_swapped(copy, data):
    path = copy()
    file = data.draw(st.sampled_from(files_of(path)))
    lines = file.read_bytes().splitlines(keepends=True)
    seqs, at = numbers(file), data.draw(st.integers(0, len(lines) - 1))
    other = data.draw(st.integers(0, len(lines) - 1).filter(lambda n: n != at)) if len(lines) > 1 else at
    deed = data.draw(st.sampled_from(["remove", "double", "swap"] if other != at else ["remove", "double"]))
    if deed == "remove":
        del lines[at]
    elif deed == "double":
        lines.insert(data.draw(st.integers(0, len(lines))), lines[at])
    else:
        lines[at], lines[other] = lines[other], lines[at]
    file.write_bytes(b"".join(lines))
    found = [finding.seq for finding in report_of(path).findings]
    assert found
    assert seqs[0] - 1 <= min(found) <= seqs[-1] + 1


@PLENTY
@given(data=st.data())
def test_a_file_that_is_cut_short_or_taken_away(copy, data):
    path = copy()
    file = data.draw(st.sampled_from(files_of(path)))
    seqs, size = numbers(file), file.stat().st_size
    kept = data.draw(st.integers(0, size - 1))
    left = file.read_bytes()[:kept].count(b"\n")
    with file.open("r+b") as cut:
        cut.truncate(kept)
    if data.draw(st.booleans()) and kept == 0:
        file.unlink()
    found = report_of(path).findings
    assert found
    assert min(finding.seq for finding in found) == seqs[left]
    assert "missing" in found[0].what


@PLENTY
@given(data=st.data())
def test_going_on_after_a_cut_does_not_hide_it(copy, data):
    path = copy()
    seqs = numbers(path)
    keep = data.draw(st.integers(0, len(seqs) - 1))
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:keep]))
    log = AuditLog(path, max_mb=data.draw(st.sampled_from([0.0012, 1])))
    for number in range(data.draw(st.integers(1, 6))):
        log(SessionCommanded(session=f"ses_{number}", command="after"))
    found = report_of(path).findings
    assert seqs[keep] in {finding.seq for finding in found}
