"""Every screen, in light and dark, wide and narrow: axe-core finds nothing, and nothing scrolls sideways."""

from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.e2e

SMALL = {"viewport": {"width": 320, "height": 640}, "is_mobile": True, "has_touch": True}
LONG = "/a/very/long/path" * 30


@pytest.fixture(scope="module")
def sessions(server):
    """One session of each kind: the demo's answer, a question, an end."""
    model = server.client.get("/api/models").json()[0]
    demo = server.start_session(provider=model["name"], model=model["models"][0]["id"])
    return {
        "chat": demo["id"],
        "question": server.start_session(harness="echo")["id"],
        "ended": server.start_session(harness="echo")["id"],
    }


@pytest.fixture(scope="module")
def told(server, sessions, chromium):
    """The sessions with something in them, said through the page."""
    server.sign_in()
    context = chromium.new_context()
    context.add_cookies([{"name": "oqto", "value": server.client.cookies["oqto"], "url": server.url}])
    page = context.new_page()
    for name, text, until in (
        ("chat", f"What is in this folder? {LONG}", "This folder holds"),
        ("question", "ask", "Go on?"),
        ("ended", "kill", "The agent stopped unexpectedly"),
    ):
        page.goto(f"{server.url}/#/session/{sessions[name]}")
        page.get_by_role("textbox", name="Message").fill(text)
        page.get_by_role("textbox", name="Message").press("Enter")
        page.get_by_text(until).first.wait_for()
    context.close()
    return sessions


def signed_in_screens(page, told):
    """Walk through the product; each stop is a screen that stands still."""

    def go(path, words):
        page.goto(f"{page.url.split('#')[0]}#/{path}")
        page.get_by_text(words).first.wait_for()
        return path or "home"

    yield go("", "Pick up where you left off")
    yield go("new", "Where should the agent work?")
    yield go("config", "Find a setting")
    yield go("models", "Add a source")
    page.get_by_role("button", name="Any OpenAI-compatible address").click()
    page.get_by_label("Address").wait_for()
    yield "models-form"
    yield go("account", "Model calls")
    page.get_by_role("button", name="Sign out everywhere").click()
    page.get_by_role("dialog").wait_for()
    yield "dialog"
    page.keyboard.press("Escape")
    go(f"session/{told['chat']}", "This folder holds")
    page.get_by_role("button", name=re.compile("Read README.md")).click()
    yield "chat"
    page.get_by_role("button", name=re.compile("^Model:|Demo")).last.click()
    page.get_by_role("menu").wait_for()
    yield "menu"
    page.keyboard.press("Escape")
    yield go(f"session/{told['question']}", "Go on?") and "question"
    yield go(f"session/{told['ended']}", "The agent stopped unexpectedly") and "ended"
    page.get_by_role("main").focus()
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    yield "keyboard"
    page.keyboard.press("Escape")
    if page.viewport_size["width"] < 768:
        page.get_by_role("button", name="Open the list of sessions").click()
        page.get_by_role("button", name="Close the list of sessions").first.wait_for()
        yield "list"


def signed_out_screens(page, stack):
    page.goto(stack.url)
    page.get_by_role("heading", name="Almost there").wait_for()
    yield "setup-required"
    page.goto(f"{stack.url}/#/setup/{stack.setup_token()}")
    page.get_by_role("button", name="Create account").click()
    page.get_by_text("Choose a name.").wait_for()
    yield "setup"


def wrong_of(page, screens, do, kind):
    found = {}
    for name in screens:
        do.shot(page, f"{kind}-{name}")
        if wrong := do.faults(page):
            found[name] = wrong
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found[f"{name}, sideways"] = page.viewport_size
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_nothing_is_wrong_with_any_screen(told, open_signed_in, do, device, scheme):
    page = open_signed_in(device=getattr(do, device), color_scheme=scheme, reduced_motion="reduce")
    assert wrong_of(page, signed_in_screens(page, told), do, f"{device}-{scheme}") == {}


def test_nothing_is_wrong_before_signing_in(stack, open_page, do):
    for scheme in ("light", "dark"):
        for device in (do.desktop, do.phone):
            page = open_page(device, color_scheme=scheme, reduced_motion="reduce")
            kind = f"{'phone' if device is do.phone else 'desktop'}-{scheme}"
            assert wrong_of(page, signed_out_screens(page, stack), do, kind) == {}


def test_nothing_scrolls_sideways_at_320_px(told, open_signed_in, do):
    page = open_signed_in(device=SMALL, reduced_motion="reduce")
    for name in signed_in_screens(page, told):
        do.shot(page, f"small-{name}")
        assert page.evaluate("document.documentElement.scrollWidth") <= SMALL["viewport"]["width"], name
