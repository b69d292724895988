"""The budget page follows the money while it is looked at, and an admin's change counts at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re

import httpx
import pytest
from oqto_plugin_eavs import control

pytestmark = pytest.mark.e2e


def ask(server, request):
    """What the core asks of the proxy; in a thread, because the browser has the loop of this one."""
    path = str(server.state_dir / "eavs/control.sock")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(control.ask(path, request))).result()


@pytest.fixture(scope="module")
def new_spender(server, provider):
    """Makes a session and its key; calls with it cost what they say."""
    body = {"name": "fake", "kind": "openai-compatible", "base_url": f"{provider.url}/v1", "api_key": "right"}
    prices = {"gpt-4o-mini": {"input": 1_000, "output": 2_000}}
    added = server.client.post(
        "/api/plugins/eavs/providers", json={**body, "models": ["gpt-4o-mini"], "prices": prices}
    )
    assert added.status_code == 201, added.text
    account = server.client.get("/api/me").json()
    url = ask(server, control.HealthCheck()).listens

    def make():
        session = server.start_session(harness="echo")
        mint = control.Mint(
            session_id=session["id"], account_id=account["id"], name=account["name"], workspace=session["workspace"],
            limit_nusd=10**9, account_limit_nusd=None, account_window="month",
        )  # fmt: skip
        headers = {"authorization": f"Bearer {ask(server, mint).key}"}

        def spend(cents):
            text = f"[[usage 0 {cents * 5}]]"
            call = {"model": "gpt-4o-mini", "max_tokens": 1, "messages": [{"role": "user", "content": text}]}
            with httpx.Client(trust_env=False) as client:
                return client.post(
                    f"{url}/p/fake/v1/chat/completions", headers=headers, json=call
                ).status_code

        return spend

    return make


@pytest.fixture
def spender(new_spender):
    return new_spender()


@pytest.fixture(scope="module")
def something_spent(new_spender):
    assert new_spender()(1) == 200


def platform_cents(server):
    (platform,) = [w for w in ask(server, control.ListWallets()).wallets if w.kind == "platform"]
    return round(platform.spent_nusd / 10**7)


def test_it_is_live_and_a_limit_counts_at_once(open_signed_in, server, spender):
    whole = f"${(platform_cents(server) + 85) / 100:.2f}"
    assert spender(55) == 200
    page = open_signed_in("#/budget")
    page.get_by_text("$0.55 of $1.00").wait_for()
    assert spender(30) == 200
    page.get_by_text("$0.85 of $1.00").wait_for()
    page.get_by_text(re.compile("80 % of \\$1.00 for a session was reached")).wait_for()
    page.get_by_text("fake/gpt-4o-mini").wait_for()
    page.get_by_role("link", name="80 % of $1.00").click()
    page.get_by_role("textbox", name="Message").wait_for()
    page.get_by_text("80 % of the budget of this session is spent: $0.85 of $1.00.").wait_for()
    page.locator(".strip-warn", has_text="$0.85 of $1.00").click()  # beside the composer, and back here

    page.get_by_role("button", name="Change the limit of The whole platform").click()
    page.get_by_label("Limit for The whole platform, in USD").fill("0.5")
    page.get_by_role("button", name="Save").click()
    page.get_by_text(f"{whole} of $0.50").wait_for()
    assert spender(1) == 402
    page.get_by_role("button", name="Change the limit of The whole platform").click()
    page.get_by_label("Limit for The whole platform, in USD").fill("")
    page.get_by_role("button", name="Save").click()
    page.get_by_text(f"{whole}, no limit").last.wait_for()
    assert spender(1) == 200


def test_an_amount_that_is_none_is_refused_at_the_field(open_signed_in):
    page = open_signed_in("#/budget")
    page.get_by_role("button", name="Change the limit of The whole platform").click()
    page.get_by_label("Limit for The whole platform, in USD").fill("much")
    page.get_by_text("Write an amount such as 20, or nothing.").wait_for()


@pytest.mark.parametrize("device", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(open_signed_in, something_spent, do, device, scheme):
    page = open_signed_in("#/budget", getattr(do, device), color_scheme=scheme)
    page.get_by_text("fake/gpt-4o-mini").wait_for()
    assert do.faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    do.shot(page, f"budget-{device}-{scheme}")


def test_the_export_holds_what_the_page_shows(server, something_spent):
    reply = server.client.get("/api/plugins/eavs/mine/usage.csv?by=model")
    head, row = reply.text.splitlines()
    assert head.startswith("model,calls,cost_usd")
    assert row.startswith("fake/gpt-4o-mini,")
