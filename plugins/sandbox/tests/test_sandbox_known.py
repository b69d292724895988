"""Which workspaces an account has had sessions in, across restarts of its runner."""

from __future__ import annotations

import os

import pytest
from oqto_plugin_sandbox.known import MOST_ENTRIES, MOST_FOLDERS, Known, with_policy


def test_a_new_runner_knows_the_workspaces_of_the_one_before(tmp_path):
    inner, gone = tmp_path / "ws" / "deep \udcff", tmp_path / "ws" / "gone"
    for folder in (inner, gone):
        folder.mkdir(parents=True)
        Known(tmp_path / "notes").add(str(folder))
    gone.rmdir()
    assert Known(tmp_path / "notes").below(str(tmp_path / "ws")) == (str(inner),)
    assert len(list((tmp_path / "notes").iterdir())) == 1
    Known(tmp_path / "notes").add(str(inner))
    assert (tmp_path / "notes").stat().st_mode & 0o077 == 0


def test_a_workspace_that_could_not_be_noted_counts_as_unknown(tmp_path):
    known, inner = Known(tmp_path / "notes"), tmp_path / "ws" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "notes").write_text("in the way")
    for _ in range(2):  # the second start must fail as the first did, and not go on without the note
        with pytest.raises(FileExistsError):
            known.add(str(inner))
    (tmp_path / "notes").unlink()
    known.add(str(inner))
    assert Known(tmp_path / "notes").below(str(tmp_path / "ws")) == (str(inner),)


def folder_with_policy(path):
    (path / ".oqto").mkdir(parents=True)
    return str(path)


def test_policies_that_no_session_has_met_yet_are_found_and_kept_though_an_agent_buries_them(tmp_path):
    notes, ws = tmp_path / "notes", tmp_path / "ws"
    near, far = folder_with_policy(ws / "near"), folder_with_policy(ws / "packages" / "far")
    folder_with_policy(ws / "node_modules" / "theirs")
    folder_with_policy(ws)
    (ws / "link").symlink_to(folder_with_policy(tmp_path / "elsewhere"))
    assert Known(notes).below(str(ws)) == (near, far)
    for count in range(2 * MOST_FOLDERS):
        (ws / f"a{count}").mkdir()
    assert with_policy(str(ws)) == []
    assert Known(notes).below(str(ws)) == (near, far)


def test_a_workspace_of_any_size_is_looked_through_within_bounds(tmp_path, monkeypatch):
    for count in range(2 * MOST_ENTRIES):
        (tmp_path / f"a{count}").mkdir()
    listed, looked = [], []
    scan, lstat = os.scandir, os.lstat
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scan(path))
    monkeypatch.setattr(os, "lstat", lambda path: looked.append(path) or lstat(path))
    assert with_policy(str(tmp_path)) == []
    assert (len(listed), len(looked)) == (1, MOST_FOLDERS)
