"""The main journey without a mouse: sign in, choose a folder, ask, read what a tool did, stop, rename."""

from __future__ import annotations

import pytest

from oqto_platform.testing.stack import NAME, PASSWORD

pytestmark = pytest.mark.e2e

MOST_STEPS = 60
FOCUSED = """() => {
  const here = document.activeElement, style = getComputedStyle(here);
  const ring = style.outlineStyle !== 'none' || style.boxShadow !== 'none';
  const around = here.closest(':focus-within') && here.parentElement.closest('form, .input');
  return {name: (here.innerText || here.ariaLabel || here.title || here.name || '').trim(), isSeen: ring || !!around};
}"""


def step_to(page, words: str, key: str = "Tab") -> None:
    """Press Tab until the focus stands on `words`; every stop on the way must be seen."""
    for _ in range(MOST_STEPS):
        page.keyboard.press(key)
        focus = page.evaluate(FOCUSED)
        assert focus["isSeen"], f"the focus cannot be seen on {focus['name']!r}"
        if words in focus["name"]:
            return
    pytest.fail(f"{words!r} is not reached with {key}")


def test_the_main_journey_by_keyboard_alone(server, open_page, do):
    page = open_page()
    page.goto(server.url)
    page.get_by_label("Name").wait_for()
    page.keyboard.type(NAME)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Choose where your models come from").wait_for()
    step_to(page, "Try the demo model")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="project").wait_for()
    step_to(page, "project")
    page.keyboard.press("Enter")
    page.get_by_text("No folders in here").wait_for()
    step_to(page, "Start")
    page.keyboard.press("Enter")
    do.composer(page).wait_for()
    page.keyboard.type("What is in this folder?")
    page.keyboard.press("Enter")
    do.log(page).get_by_text("This folder holds").wait_for()
    step_to(page, "README.md", "Shift+Tab")
    page.keyboard.press("Enter")
    do.log(page).get_by_text("Keeps ships off the rocks").first.wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    step_to(page, "What is in this folder?", "Shift+Tab")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.get_by_role("heading", name="Where should the agent work?").wait_for()
