"""The one door without a sign-in that plugins have: files of their own for a frame that has no cookie."""

from __future__ import annotations

import re

import httpx
import pytest

from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def stack(tmp_path_factory, examples_path):
    env = {"PYTHONPATH": examples_path("notes", "diff")}
    with Stack(tmp_path_factory.mktemp("s"), plugins=("notes", "diff"), env=env) as server:
        server.set_up()
        yield server


@pytest.fixture(scope="module")
def folder(stack):
    """The address of the files of `notes`, as its frame gets it."""
    page = stack.client.get("/plugins/-/frame/notes/oqto-notes").text
    return re.search(r'data-module="(.+)/notes.js"', page)[1]


def fetch(stack, path):
    """As a frame does it: without a cookie."""
    request = httpx.Request("GET", httpx.URL(stack.url).copy_with(raw_path=path.encode()))
    with httpx.Client(trust_env=False) as client:
        return client.send(request)


def test_a_frame_gets_the_files_of_its_plugin_without_a_cookie(stack, folder):
    answer = fetch(stack, f"{folder}/notes.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["../core.py", "%2e%2e/core.py", "..%2fcore.py", "//etc/passwd", "/etc/passwd", "-/../index.html", "-/%2e%2e/index.html", "", "-/", "none.js"],
)  # fmt: skip
def test_a_ticket_opens_nothing_but_the_folder_static(stack, folder, path):
    answer = fetch(stack, f"{folder}/{path}")
    assert answer.status_code in (401, 404), answer.text
    assert "root:" not in answer.text


def test_a_ticket_that_was_changed_is_none(stack, folder):
    plugin, until, seal = folder.rpartition("/")[2].split(".")
    for changed in (
        f"diff.{until}.{seal}",
        f"notes.{int(until) + 1}.{seal}",
        f"notes.1.{seal}",
        f"notes.{until}.",
        f"notes.{until}.é",
        f"notes.{'9' * 5000}.{seal}",
        f"notes.²³.{seal}",
        "x",
    ):
        answer = fetch(
            stack, f"/plugins/-/file/{httpx.URL('http://x/' + changed).raw_path.decode()[1:]}/notes.js"
        )
        assert answer.status_code == 401, changed
    assert plugin == "notes"


def test_a_frame_is_for_whoever_is_signed_in(stack):
    assert fetch(stack, "/plugins/-/frame/notes/oqto-notes").status_code == 401
    assert stack.client.get("/plugins/-/frame/notes/oqto-diff").status_code == 404
    assert stack.client.get("/plugins/-/frame/none/oqto-notes").status_code == 404
    policy = stack.client.get("/plugins/-/frame/notes/oqto-notes").headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "connect-src 'none'" in policy


def test_files_for_the_page_itself_are_for_whoever_is_signed_in(stack):
    assert fetch(stack, "/plugins/notes/notes.js").status_code == 401
    assert stack.client.get("/plugins/notes/notes.js").status_code == 200
