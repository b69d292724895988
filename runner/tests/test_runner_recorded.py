"""What plugins of the runner recorded stays until the core has it, and comes in batches that can be repeated."""

from __future__ import annotations

import stat

from oqto_runner import recorded


def written(root, *numbers):
    for number in numbers:
        recorded.write(root, {"plugin": "sandbox", "event": "egress", "number": number})


def numbers(found):
    return [record["number"] for record in found]


def test_a_batch_comes_again_until_it_is_said_to_be_kept(tmp_path):
    assert recorded.take(tmp_path, "") == ("", [])
    written(tmp_path, 1, 2)
    first, found = recorded.take(tmp_path, "")
    assert numbers(found) == [1, 2]
    written(tmp_path, 3)
    again, found = recorded.take(tmp_path, "")
    assert (again, numbers(found)) == (first, [1, 2])
    second, found = recorded.take(tmp_path, first)
    assert (second != first, numbers(found)) == (True, [3])
    assert recorded.take(tmp_path, second) == ("", [])
    assert list(tmp_path.iterdir()) == []


def test_a_batch_is_closed_before_it_is_too_large_for_a_reply(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded, "MAX_BYTES", 200)
    written(tmp_path, *range(20))
    kept, seen = "", []
    while (found := recorded.take(tmp_path, kept))[0]:
        kept = found[0]
        seen += numbers(found[1])
    assert seen == list(range(20))


def test_nothing_but_a_batch_can_be_given_up(tmp_path):
    written(tmp_path, 1)
    (tmp_path / "audit-x.jsonl").write_text("mine")
    recorded.take(tmp_path, "x")
    recorded.take(tmp_path, "../audit")
    assert (tmp_path / "audit-x.jsonl").exists()


def test_a_torn_line_is_left_out_and_the_file_is_private(tmp_path):
    written(tmp_path, 1)
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"plugin": "sand')
    assert numbers(recorded.take(tmp_path, "")[1]) == [1]
