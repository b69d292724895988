"""What a new user does: the printed link, an account, the demo model, a folder, a question, a reload."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("kind", ["desktop", "phone"])
def test_from_the_link_to_the_answer_and_through_a_reload(stack, open_page, do, kind):
    page = open_page(getattr(do, kind))
    do.make_account(page, stack)
    do.shot(page, f"{kind}-models")
    do.start_demo_session(page)
    do.shot(page, f"{kind}-empty")
    do.ask(page, "What is in this folder?")
    page.get_by_text(re.compile(r"\bls -la")).first.wait_for()
    do.shot(page, f"{kind}-streaming")
    page.reload()
    log = do.log(page)
    log.get_by_text("Lighthouse").first.wait_for()
    assert log.get_by_text("What is in this folder?").count() == 1
    assert log.get_by_text("This folder holds").count() == 1
    assert page.get_by_role("heading", name="What is in this folder?").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Copy the answer").wait_for()
    do.shot(page, kind)


def test_the_core_is_killed_and_what_is_written_meanwhile_goes_out_once(stack, open_page, do):
    page = open_page()
    do.make_account(page, stack)
    do.start_demo_session(page)
    do.ask(page, "What is in this folder?")
    log = do.log(page)
    log.get_by_text("Lighthouse").first.wait_for()
    stack.kill()
    page.get_by_text("No connection since").wait_for()
    do.ask(page, "And what can you do?")
    page.get_by_text("not sent yet").wait_for()
    do.shot(page, "desktop-offline")
    stack.start()
    page.get_by_text("No connection since").wait_for(state="hidden")
    page.get_by_text("Saved", exact=True).wait_for()
    page.get_by_role("button", name="Copy the answer").nth(1).wait_for()
    assert log.get_by_text("And what can you do?").count() == 1
    assert log.get_by_text("This folder holds").count() == 1
    page.reload()
    log.get_by_text("This folder holds").wait_for()
    assert log.get_by_text("And what can you do?").count() == 1
