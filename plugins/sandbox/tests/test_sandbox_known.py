"""Which workspaces an account has had sessions in, across restarts of its runner."""

from __future__ import annotations

import pytest
from oqto_plugin_sandbox.known import Known


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
