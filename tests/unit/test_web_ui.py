"""Serving the built UI: names, tags, types, and what is the page and what is missing."""

from __future__ import annotations

import pytest

from oqto_platform.web import WebUI


@pytest.fixture
def ask(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Oqto</title>")
    (tmp_path / "assets" / "app-1a2b.js").write_text("console.log('é')")
    (tmp_path / "icon.svg").write_text("<svg/>")
    ui = WebUI(tmp_path)

    async def ask(path, method="GET", **headers):
        sent = []

        async def send(message):
            sent.append(message)

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await ui({"type": "http", "path": path, "method": method, "headers": raw}, None, send)  # type: ignore[arg-type]
        start, body = sent
        assert not body["more_body"]
        return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body["body"]

    return ask


async def test_a_hashed_file_may_be_kept_for_ever(ask):
    status, headers, body = await ask("/assets/app-1a2b.js")
    assert (status, body) == (200, "console.log('é')".encode())
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["cache-control"] == "public, max-age=31536000, immutable"
    assert headers["content-length"] == str(len(body))


async def test_the_page_is_asked_for_every_time(ask):
    _, headers, _ = await ask("/")
    assert headers["cache-control"] == "no-cache"
    assert headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", ["/", "/index.html", "/sessions/ses_1", "/settings", "/anything/below"])
async def test_every_path_of_the_ui_is_the_page(ask, path):
    status, _, body = await ask(path)
    assert (status, body) == (200, b"<!doctype html><title>Oqto</title>")


async def test_an_asset_of_another_version_is_missing_and_not_the_page(ask):
    """A page that was open during an upgrade loads a module that is gone: HTML in its place would be a riddle."""
    status, headers, body = await ask("/assets/app-gone.js")
    assert status == 404
    assert b"<!doctype" not in body
    assert headers["cache-control"] == "no-cache"


async def test_an_asset_that_went_while_the_server_runs_is_missing(ask, tmp_path):
    (tmp_path / "assets" / "app-1a2b.js").unlink()
    status, headers, body = await ask("/assets/app-1a2b.js")
    assert (status, headers["cache-control"]) == (404, "no-cache")
    assert b"load the page again" in body


async def test_what_the_browser_has_is_not_sent_again(ask):
    _, headers, _ = await ask("/icon.svg")
    status, again, body = await ask("/icon.svg", if_none_match=headers["etag"])
    assert (status, body, again["etag"]) == (304, b"", headers["etag"])
    status, _, _ = await ask("/icon.svg", if_none_match='"other"')
    assert status == 200


async def test_head_tells_the_same_without_the_body(ask):
    _, headers, body = await ask("/icon.svg")
    status, head, nothing = await ask("/icon.svg", method="HEAD")
    assert (status, nothing) == (200, b"")
    assert head == headers
    assert head["content-length"] == str(len(body))


@pytest.mark.parametrize("path", ["/../index.html", "/assets/../../x", "//icon.svg", "/assets/"])
async def test_only_names_that_were_read_are_served(ask, path):
    _, _, body = await ask(path)
    assert body != b"<svg/>"


async def test_a_ui_that_is_not_built_says_so(tmp_path):
    sent = []

    async def send(message):
        sent.append(message)

    await WebUI(tmp_path)({"type": "http", "path": "/", "method": "GET", "headers": []}, None, send)  # type: ignore[arg-type]
    assert b"make ui" in sent[1]["body"]
