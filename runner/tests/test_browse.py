"""The folder picker and which folders become workspaces."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from oqto_runner import browse, workspaces

from oqto_platform import wire
from oqto_platform.errors import Forbidden, Invalid
from oqto_platform.types import WorkspaceRequest


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    for name in ("beta", "Alpha", ".hidden", "repo/.git", ".local/state/oqto/runner"):
        (folder / name).mkdir(parents=True)
    (folder / "file.txt").write_text("x")
    (folder / "link").symlink_to(folder / "beta")
    (folder / "broken").symlink_to(folder / "nowhere")
    monkeypatch.setenv("HOME", str(folder))
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.mark.parametrize("path", ["", "~", "~/"])
def test_home_is_listed_by_name_without_files_and_hidden_folders(home, path):
    listing = browse.listing(path)
    assert [f.name for f in listing.folders] == ["Alpha", "beta", "link", "repo"]
    assert (listing.path, listing.parent, listing.is_writable) == (str(home), str(home.parent), True)
    assert [f.name for f in listing.folders if f.is_repository] == ["repo"]
    assert ".hidden" in [f.name for f in browse.listing(path, show_hidden=True).folders]


def test_links_and_dots_are_resolved(home):
    assert browse.listing("~/link").path == str(home / "beta")
    assert browse.listing(f"{home}/Alpha/../beta/.").path == str(home / "beta")
    assert browse.listing("/").parent is None


def test_a_long_listing_is_cut_and_says_so(home):
    for n in range(browse.MOST_FOLDERS + 1):
        (home / "beta" / f"{n:05d}").mkdir(parents=True)
    listing = browse.listing("~/beta")
    assert (len(listing.folders), listing.is_truncated) == (browse.MOST_FOLDERS, True)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("relative", "not an absolute path"),
        ("~root", "not an absolute path"),
        ("~/nowhere", "nowhere does not exist"),
        ("~/file.txt", "file.txt is not a folder"),
        ("/a\0b", "NUL"),
        ("/" + "x" * 5000, "cannot be"),
    ],
)
def test_a_path_that_cannot_be_listed_is_named(home, path, words):
    with pytest.raises(Invalid, match=words):
        browse.listing(path)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_forbidden(home):
    (home / "beta").chmod(0)
    with pytest.raises(Forbidden, match="beta"):
        browse.listing("~/beta")


def test_a_folder_is_opened_or_made(home):
    opened = workspaces.open_workspace(WorkspaceRequest(path="~/beta"))
    assert (opened.path, opened.name, opened.is_new) == (str(home / "beta"), "beta", False)
    made = workspaces.open_workspace(WorkspaceRequest(path="~/new/deep", create=True))
    assert made.is_new
    assert Path(made.path).is_dir()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/", "whole machine"),
        ("", "your home"),
        ("~/.local/state/oqto", "belongs to Oqto"),
        ("~/.local/state/oqto/runner/x", "belongs to Oqto"),
        ("~/file.txt", "not a folder"),
        ("~/nowhere", "does not exist"),
        ("~/file.txt/below", "not"),
    ],
)
def test_what_cannot_be_a_workspace_is_refused_with_a_sentence(home, path, words):
    with pytest.raises(Invalid, match=words):
        workspaces.open_workspace(WorkspaceRequest(path=path, create="below" in path))


def test_a_folder_that_holds_oqtos_state_is_refused_too(home):
    with pytest.raises(Invalid, match="contains"):
        workspaces.open_workspace(WorkspaceRequest(path="~/.local/state"))


def test_a_link_does_not_smuggle_a_private_folder_in(home):
    (home / "innocent").symlink_to(home / ".local/state/oqto")
    with pytest.raises(Invalid, match="belongs to Oqto"):
        workspaces.open_workspace(WorkspaceRequest(path="~/innocent"))


async def test_over_the_wire(runner, tmp_path):
    (tmp_path / "work" / "inner").mkdir()
    listing = await runner.call(wire.Browse(path=str(tmp_path / "work")))
    assert [folder.name for folder in listing.folders] == ["inner"]
    opened = await runner.call(
        wire.OpenWorkspace(request=WorkspaceRequest(path=str(tmp_path / "work" / "inner")))
    )
    assert opened.workspace.name == "inner"
    with pytest.raises(Invalid, match="belongs to Oqto"):
        await runner.call(wire.OpenWorkspace(request=WorkspaceRequest(path=str(runner.state / "sessions"))))
