"""A session on the page when things happen to it: questions, stopping, two tabs, a dead agent."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.e2e


@pytest.fixture
def open_echo(server, open_signed_in):
    """Open a new session with the agent that does as it is told."""

    def make(**options):
        session = server.start_session(harness="echo")
        page = open_signed_in(f"#/session/{session['id']}", **options)
        page.get_by_role("textbox", name="Message").wait_for()
        return page

    return make


def test_the_agents_question_is_asked_answered_and_gone(open_echo, do):
    page = open_echo()
    do.ask(page, "ask")
    card = page.get_by_role("region", name="Go on?")
    card.wait_for()
    page.get_by_role("main").get_by_text("Asks you").wait_for()
    page.reload()
    card.wait_for()
    assert page.get_by_role("navigation").get_by_text("Asks you").count() == 1
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    do.log(page).get_by_text("you said yes").wait_for()
    assert card.count() == 0
    page.get_by_role("main").get_by_text("Ready").wait_for()


@pytest.mark.parametrize("how", ["button", "keys"])
def test_a_turn_is_stopped(open_echo, do, how):
    page = open_echo()
    do.ask(page, "stream 2000 20")
    do.log(page).get_by_text(re.compile("0 1 2 3")).wait_for()
    if how == "button":
        page.get_by_role("button", name="Stop the agent (Esc twice)").click()
    else:
        page.keyboard.press("Escape")
        page.get_by_text("Press Esc again to stop the agent.").first.wait_for()
        page.keyboard.press("Escape")
    page.get_by_role("main").get_by_text("Ready").wait_for()
    do.log(page).get_by_text("Stopped here.").first.wait_for()
    do.ask(page, "still there")
    do.log(page).get_by_text("still there").nth(1).wait_for()


def test_two_tabs_show_the_same(server, open_echo, open_page, do):
    page = open_echo()
    other = open_page(beside=page)
    asked = []
    other.on("request", lambda request: "/api/sessions?" in request.url and asked.append(request.url))
    other.goto(page.url)
    do.composer(other).wait_for()
    do.ask(page, "from the first tab")
    do.log(other).get_by_text("from the first tab").nth(1).wait_for()
    do.ask(other, "tool 0.3")
    do.log(page).get_by_text("done").wait_for()
    do.log(other).get_by_text("done").wait_for()
    said = [[part.inner_text() for part in do.log(tab).get_by_role("article").all()] for tab in (page, other)]
    assert said[0] == said[1]
    assert len(said[0]) == 4
    third = server.start_session(harness="echo", title="Made elsewhere")
    for tab in (page, other):
        tab.get_by_role("navigation").get_by_text("Made elsewhere").wait_for()
    server.client.delete(f"/api/sessions/{third['id']}").raise_for_status()
    for tab in (page, other):
        tab.get_by_role("navigation").get_by_text("Made elsewhere").wait_for(state="hidden")
    assert len(asked) <= 1, "the list is told, not asked for"


def test_an_agent_killed_from_outside_says_why_and_resumes(open_echo, do):
    page = open_echo()
    do.ask(page, "before")
    do.log(page).get_by_text("before").nth(1).wait_for()
    do.ask(page, "kill")
    page.get_by_text("The agent stopped unexpectedly").wait_for()
    why = page.get_by_role("region", name="This session has ended").inner_text()
    assert re.search("SIGKILL|signal 9|killed", why), why
    page.locator(".chat-header").get_by_text("Failed").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("main").get_by_text("Ready").wait_for()
    do.ask(page, "after all")
    do.log(page).get_by_text("after all").nth(1).wait_for()
    assert do.log(page).get_by_text("before").count() == 2
    assert page.get_by_text("The agent stopped unexpectedly").count() == 0


def test_a_message_written_without_network_is_kept_through_a_closed_tab(open_echo, open_page, do):
    page = open_echo()
    do.composer(page).fill("half a thought")
    other = open_page(beside=page)
    other.goto(page.url)
    page.close()
    other.reload()
    assert do.composer(other).input_value() == "half a thought"
