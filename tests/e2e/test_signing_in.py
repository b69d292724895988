"""The way in, and the way out everywhere at once."""

from __future__ import annotations

import pytest

from oqto_platform.testing.stack import NAME, PASSWORD

pytestmark = pytest.mark.e2e


def test_the_link_works_once(server, open_page):
    page = open_page()
    page.goto(f"{server.url}/#/setup/{server.setup_token()}")
    page.get_by_role("heading", name="Already set up").wait_for()
    page.get_by_role("button", name="Go to sign-in").click()
    page.get_by_role("heading", name="Welcome back").wait_for()


def test_a_wrong_password_keeps_the_name_and_says_so(server, open_page):
    page = open_page()
    page.goto(server.url)
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password").fill("not it at all")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Name and password do not match").wait_for()
    assert page.get_by_label("Name").input_value() == NAME
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=NAME, exact=True).wait_for()


def test_signing_out_everywhere_ends_the_other_tab_too(open_signed_in, open_page):
    other = open_signed_in("#/models")
    other.get_by_role("heading", name="Model sources").wait_for()
    page = open_signed_in("#/account")
    page.get_by_role("button", name="Sign out everywhere").click()
    page.get_by_role("dialog").get_by_role("button", name="Sign out everywhere").click()
    for tab in (page, other):
        tab.get_by_role("heading", name="Welcome back").wait_for()
        assert tab.get_by_text("Your sign-in has ended").is_visible()
        assert tab.get_by_role("navigation").count() == 0
