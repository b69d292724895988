"""An admin changes the server's settings in the browser, and hears of a file that was refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.e2e

SEED = Path(__file__).parents[1] / "fixtures" / "config" / "seed-example.toml"


@pytest.fixture(scope="module")
def stack(tmp_path_factory, chromium):
    root = tmp_path_factory.mktemp("settings")
    config = root / "config.toml"
    config.write_text(SEED.read_text())
    with Stack(root, env={"OQTO_CONFIG": str(config)}) as stack:
        stack.config = config
        stack.set_up()
        yield stack


@pytest.fixture
def page(stack, chromium):
    stack.config.write_text(SEED.read_text())
    stack.client.post("/api/settings/reload")
    context = chromium.new_context()
    context.add_cookies([{"name": "oqto", "value": stack.client.cookies["oqto"], "url": stack.url}])
    page = context.new_page()
    page.goto(f"{stack.url}/#/config")
    page.get_by_role("heading", name="Server settings").wait_for()
    yield page
    context.close()


def change(page, key, value):
    field = page.get_by_label(key, exact=True)
    field.fill(value)
    field.press("Tab")


def save(page):
    page.get_by_role("button", name="Save").click()


def test_a_change_is_written_and_holds(stack, page):
    page.get_by_label("Find a setting").fill("idle")
    change(page, "idle_timeout_minutes", "45")
    save(page)
    page.get_by_text("1 change").wait_for(state="detached")
    assert "idle_timeout_minutes = 45\n" in stack.config.read_text()
    page.get_by_role("button", name="Use the default for sessions.idle_timeout_minutes").click()
    save(page)
    page.get_by_text("1 change").wait_for(state="detached")
    assert "idle_timeout_minutes" not in stack.config.read_text()


def test_a_wrong_value_is_told_and_kept_for_mending(stack, page):
    change(page, "workspace_dir", "/srv/{someone}")
    save(page)
    page.get_by_text("workspace_dir: unknown placeholder {someone}; known: {user_id}").wait_for()
    assert page.get_by_label("workspace_dir", exact=True).input_value() == "/srv/{someone}"
    assert stack.config.read_text() == SEED.read_text()
    page.get_by_role("button", name="Discard").click()
    assert page.get_by_label("workspace_dir", exact=True).input_value().endswith("/oqto/{user_id}")


def test_what_somebody_else_changed_meanwhile_is_shown(stack, page):
    change(page, "idle_timeout_minutes", "50")
    text = stack.config.read_text()
    stack.config.write_text(text.replace("idle_timeout_minutes = 30", "idle_timeout_minutes = 44"))
    save(page)
    page.get_by_text("-idle_timeout_minutes = 44").wait_for()
    page.get_by_role("button", name="Look at the file as it is now").click()
    save(page)
    page.get_by_text("1 change").wait_for(state="detached")
    assert "idle_timeout_minutes = 50\n" in stack.config.read_text()


def test_a_key_that_a_variable_sets_or_that_is_to_come_is_only_looked_at(page):
    assert page.get_by_label("data_dir", exact=True).is_disabled()
    page.get_by_text("Set by the variable OQTO__PATHS__DATA_DIR; change it there.").wait_for()
    assert page.get_by_label("listen", exact=True).is_disabled()
    page.get_by_text("Set by an option on the command line; change it there.").first.wait_for()
    assert page.get_by_role("combobox", name="runtime").is_disabled()


def test_a_key_that_waits_for_a_restart_is_named(page):
    page.get_by_label("disabled", exact=True).fill("eavs")
    page.get_by_label("disabled", exact=True).press("Tab")
    save(page)
    page.get_by_text("Waiting for a restart", exact=True).wait_for()


def test_a_refused_file_is_told_on_every_screen(stack, page):
    page.goto(f"{stack.url}/#/models")
    stack.config.write_text(f"{SEED.read_text()}\n[sesions]\n")
    page.locator(".banner", has_text="unknown section [sesions], did you mean 'sessions'?").wait_for()
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_text("The file was changed, and the change was refused").wait_for()


def test_the_bare_address_leads_to_the_session_that_runs(stack, chromium):
    session = stack.start_session(harness="echo")["id"]
    context = chromium.new_context()
    context.add_cookies([{"name": "oqto", "value": stack.client.cookies["oqto"], "url": stack.url}])
    page = context.new_page()
    page.goto(stack.url)
    page.wait_for_url(f"**/#/session/{session}")
    context.close()


def test_and_stays_at_home_where_that_is_switched_off(stack, chromium):
    stack.config.write_text(SEED.read_text().replace('auto_attach = "on" ', 'auto_attach = "off" '))
    stack.client.post("/api/settings/reload")
    stack.start_session(harness="echo")
    context = chromium.new_context()
    context.add_cookies([{"name": "oqto", "value": stack.client.cookies["oqto"], "url": stack.url}])
    page = context.new_page()
    page.goto(stack.url)
    page.get_by_text("Pick up where you left off").wait_for()
    assert "#/session" not in page.url
    context.close()
