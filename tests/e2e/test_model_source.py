"""Adding a model source by hand: a wrong key is told in words, and nothing typed is lost."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.e2e


def test_a_wrong_key_stays_in_its_field_until_it_is_mended(open_signed_in, provider, do):
    page = open_signed_in("#/models")
    page.get_by_role("button", name="Any OpenAI-compatible address").click()
    page.get_by_label("Address").fill(f"{provider.url}/v1")
    key = page.get_by_label("API key, if the server wants one")
    key.fill("wrong")
    page.get_by_role("button", name="Check and save").click()
    page.get_by_text("The provider does not accept this key").wait_for()
    assert key.input_value() == "wrong"
    assert page.get_by_label("Address").input_value() == f"{provider.url}/v1"
    assert page.get_by_role("main").get_by_role("listitem").count() == 1
    do.shot(page, "desktop-wrong-key")
    key.fill("right")
    page.get_by_role("button", name="Check and save").click()
    page.get_by_text("The provider does not accept this key").wait_for(state="hidden")
    page.get_by_text("is not known").wait_for()  # a model without a price is never billed by guess
    page.get_by_label("Its models cost nothing").check()
    page.get_by_role("button", name="Check and save").click()
    page.get_by_role("main").get_by_role("listitem").nth(1).wait_for()


def test_an_address_where_nobody_is_says_so(open_signed_in):
    page = open_signed_in("#/models")
    page.get_by_role("button", name="Any OpenAI-compatible address").click()
    page.get_by_label("Address").fill("http://127.0.0.1:9/v1")
    page.get_by_role("button", name="Check and save").click()
    page.get_by_text("The provider cannot be reached from this server").wait_for()
