"""An admin looks at the audit log: whole or broken, filtered, on a desktop and on a phone."""

from __future__ import annotations

import re

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.real]


def refused_sign_in(server):
    server.client.post("/api/auth/login", json={"name": "ada", "password": "wrong"})


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_what_was_done_by_whom(server, open_signed_in, do, device):
    refused_sign_in(server)
    page = open_signed_in("#/audit", getattr(do, device))
    page.get_by_text("Nothing was changed or removed").wait_for()
    records = page.get_by_role("list", name="Records, newest first")
    records.get_by_text("Sign-in").first.wait_for()
    assert do.faults(page) == []
    do.shot(page, f"audit-{device}")
    page.get_by_label("Outcome").select_option("refused")
    records.get_by_text("Account made").wait_for(state="detached")
    assert records.get_by_text("Refused").count() == records.get_by_role("listitem").count() > 0
    records.get_by_role("listitem").first.click()
    records.get_by_text("Hash of the record before").first.wait_for()
    assert do.faults(page) == []
    do.shot(page, f"audit-{device}-open")
    page.get_by_label("Words in the record").fill("there is nothing like this")
    page.get_by_text("No record fits").wait_for()


def test_the_way_there_and_a_file_for_a_spreadsheet(open_signed_in):
    page = open_signed_in()
    page.get_by_role("button", name=re.compile("ada", re.IGNORECASE)).click()
    page.get_by_role("menuitem", name="Audit log").click()
    page.get_by_role("heading", name="Audit log").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    text = download.value.path().read_text()
    assert text.startswith("seq,time,event,actor,")
    assert "sign-in" in text


def test_a_chain_that_was_broken_is_told_in_red(server, open_signed_in, do):
    log = server.state_dir / "audit.log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([lines[0], *lines[2:]]))
    for device in ("desktop", "phone"):
        page = open_signed_in("#/audit", getattr(do, device))
        alert = page.get_by_role("alert").filter(has_text="The log is not as it was written")
        alert.get_by_text("record 2 is missing").first.wait_for()
        assert do.faults(page) == []
        do.shot(page, f"audit-{device}-broken")
