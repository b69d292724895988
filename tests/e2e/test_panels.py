"""Panels of plugins in a real browser: sandboxed, bridged, and as good to look at as the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.e2e

HOSTILE = Path(__file__).resolve().parents[1] / "fixtures" / "oqto-plugin-hostile"
ASKS = """async () => {
  const asked = {
    "another's routes": () => given.call("GET", "../eavs/keys"),
    "the core's routes": () => given.call("GET", "/../../me"),
    "in disguise": () => given.call("GET", "%2e%2e/%2e%2e/me"),
    "another server": () => given.call("GET", "http://127.0.0.1:9/"),
    "another method": () => given.call("TRACE", "x"),
    "its own": () => given.call("GET", "nothing-here"),
    "too much text": () => given.suggest("x".repeat(1e6)),
    "something else": () => given.suggest({ toString: () => "x" }),
  };
  const said = {};
  for (const [name, ask] of Object.entries(asked)) {
    said[name] = await ask().then(() => "answered", (reason) => (typeof reason.code === "string" ? reason.code : reason.name));
  }
  return [said, Object.keys(given).sort(), JSON.stringify(given).includes("acc_")];
}"""
SANDBOX = """async () => {
  const tries = {
    cookie: () => document.cookie,
    storage: () => localStorage.length,
    parent: () => parent.document.title,
    origin: () => self.origin,
    api: () => fetch("/api/me").then((answer) => answer.status),
    post: () => fetch("/api/sessions", { method: "POST", body: "{}" }).then((answer) => answer.status),
    elsewhere: () => fetch("http://127.0.0.1:9/").then(() => "reached"),
    script: () => import("/plugins/notes/notes.js").then(() => "loaded"),
    inline: () => {
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.body.append(script);
      return Boolean(window.ran);
    },
    open: () => String(window.open("/", "_blank")),
    top: () => { top.location.href = "about:blank"; return "moved"; },
  };
  const found = {};
  for (const [name, attempt] of Object.entries(tries)) {
    try { found[name] = await attempt(); } catch (reason) { found[name] = reason.name; }
  }
  return found;
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory, chromium, examples_path):
    path = examples_path("notes", "diff", others=(HOSTILE,))
    with Stack(
        tmp_path_factory.mktemp("server"),
        plugins=("eavs", "sandbox", "notes", "diff", "hostile"),
        env={"PYTHONPATH": path},
    ) as shared:
        (shared.workspace / "README.md").write_text("# Lighthouse\n")
        shared.set_up()
        yield shared


@pytest.fixture(scope="module")
def demo(server):
    model = server.client.get("/api/models").json()[0]
    return server.start_session(provider=model["name"], model=model["models"][0]["id"])["id"]


@pytest.fixture(scope="module")
def echo(server):
    return server.start_session(harness="echo")["id"]


@pytest.fixture
def open_attacked(server, chromium):
    """A signed-in page that may complain: what is forbidden in it stands in the browser's console."""
    server.sign_in()
    with chromium.new_context() as context:
        context.add_cookies([{"name": "oqto", "value": server.client.cookies["oqto"], "url": server.url}])
        page = context.new_page()

        def open_page(path):
            page.goto(f"{server.url}/{path}")
            return page

        yield open_page


def notes_of(page):
    return page.frame_locator("iframe[title=Notes]")


def test_a_panel_stands_beside_the_conversation_and_speaks_with_its_plugin(server, echo, open_signed_in, do):
    page = open_signed_in(f"#/session/{echo}")
    page.get_by_role("button", name="Panels").click()
    notes = notes_of(page).get_by_role("textbox")
    notes.fill("Look at the lamp first.")
    notes_of(page).get_by_text("Saved", exact=True).wait_for()
    do.shot(page, "panel-desktop")
    assert do.faults(page) == []
    notes_of(page).get_by_role("button", name="Put into the message").click()
    page.wait_for_function("document.querySelector('.composer textarea').value === 'Look at the lamp first.'")
    page.goto(f"{server.url}/#/account")
    page.frame_locator("iframe[title=Notes]").get_by_text("1 session has notes.").wait_for()
    do.shot(page, "panel-account")


def test_a_panel_covers_a_phone_and_makes_way_for_what_it_suggests(server, echo, open_signed_in, do):
    server.client.put(f"/api/plugins/notes/of/{echo}", json={"text": "Ask about the keeper."})
    page = open_signed_in(f"#/session/{echo}", device=do.phone, color_scheme="dark")
    page.get_by_role("button", name="Panels").click()
    notes_of(page).get_by_role("textbox").wait_for()
    frame = page.query_selector("iframe").content_frame()
    frame.wait_for_function("document.querySelector('oqto-notes').text.value === 'Ask about the keeper.'")
    page.wait_for_function("document.querySelector('iframe').getBoundingClientRect().width === innerWidth")
    do.shot(page, "panel-phone")
    # What is covered is out of reach, for the keyboard and for the ear too.
    assert page.evaluate("document.activeElement.textContent") == "Close the panel"
    assert page.locator(".chat").evaluate("chat => chat.inert")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # The click takes its own frame away, which a driver that waits for the click's end does not survive.
    put = notes_of(page).get_by_role("button", name="Put into the message")
    put.evaluate("button => void setTimeout(() => button.click())")
    page.get_by_role("region", name="Panel").wait_for(state="detached")
    page.wait_for_function("document.querySelector('.composer textarea').value === 'Ask about the keeper.'")


def test_a_frame_reaches_nothing_but_its_bridge(server, echo, open_attacked):
    page = open_attacked(f"#/session/{echo}")
    page.get_by_role("button", name="Panels").click()
    notes_of(page).get_by_role("textbox").wait_for()
    frame = page.query_selector("iframe").content_frame()
    found = frame.evaluate(SANDBOX)
    assert found == {
        "cookie": "SecurityError",
        "storage": "SecurityError",
        "parent": "SecurityError",
        "origin": "null",
        "api": "TypeError",
        "post": "TypeError",
        "elsewhere": "TypeError",
        "script": "TypeError",
        "inline": False,
        "open": "null",
        "top": "SecurityError",
    }


def test_a_frame_that_moves_elsewhere_shows_nothing_of_it(server, echo, open_attacked):
    page = open_attacked(f"#/session/{echo}")
    page.get_by_role("button", name="Panels").click()
    notes_of(page).get_by_role("textbox").wait_for()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.query_selector("iframe").content_frame().evaluate(
        "() => { location.href = 'http://localhost:9/?what=secret' }"
    )
    page.wait_for_function("() => document.querySelector('iframe').contentWindow.length === 0")
    assert [url for url in asked if ":9/" in url] == []


def test_a_panel_gets_and_may_do_what_its_contract_says_and_no_more(server, echo, open_signed_in, do):
    page = open_signed_in(f"#/session/{echo}")
    page.get_by_role("button", name="Panels").click()
    page.get_by_role("button", name="Grabs").click()
    page.frame_locator("iframe[title=Grabs]").get_by_text("given").wait_for()
    said, given, knows_ids = page.query_selector("iframe").content_frame().evaluate(ASKS)
    assert said == {
        "another's routes": "refused",
        "the core's routes": "refused",
        "in disguise": "refused",
        "another server": "refused",
        "another method": "refused",
        "its own": "not-found",
        "too much text": "refused",
        "something else": "DataCloneError",
    }
    facts = {"account", "place", "plugin", "session", "theme", "tool", "version"}
    assert set(given) == facts | {"call", "suggest"}
    assert not knows_ids
    # However large it makes itself, it stays in its place.
    do.composer(page).click()
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")


def test_a_panel_that_does_not_come_to_be_is_named_and_hurts_nobody(server, echo, open_attacked, do):
    page = open_attacked(f"#/session/{echo}")
    page.get_by_role("button", name="Panels").click()
    for name, words in (
        ("Throws", "<img src=x onerror=alert(1)> on purpose"),
        ("Empty", "defines no element"),
    ):
        page.get_by_role("button", name=name, exact=True).click()
        alert = page.get_by_role("alert")
        alert.get_by_text(f"“{name}” cannot be shown").wait_for()
        alert.get_by_text(words).wait_for()
        do.shot(page, f"panel-{name.lower()}")
    do.ask(page, "hello")
    do.log(page).get_by_text("hello", exact=True).last.wait_for()


def test_what_an_agent_wrote_is_shown_as_a_diff(server, demo, open_signed_in, do):
    page = open_signed_in(f"#/session/{demo}")
    do.ask(page, "Write a hello world in hello.py")
    diff = page.frame_locator("iframe[title=Changes]").first
    diff.get_by_text("hello.py").wait_for()
    diff.get_by_label(re.compile("^added: ")).first.wait_for()
    page.get_by_text("Input and output").first.wait_for()
    do.shot(page, "renderer-desktop")
    assert do.faults(page) == []


def test_an_admin_may_let_a_panel_into_the_page(tmp_path, chromium, examples_path, open_page, do):
    settings = tmp_path / "config.toml"
    settings.write_text('[plugins]\ntrusted_panels = ["notes"]\n')
    env = {"PYTHONPATH": examples_path("notes"), "OQTO_CONFIG": str(settings)}
    with Stack(tmp_path, plugins=("notes",), env=env) as stack:
        stack.set_up()
        page = open_page()
        page.context.add_cookies([{"name": "oqto", "value": stack.client.cookies["oqto"], "url": stack.url}])
        page.goto(f"{stack.url}/#/account")
        page.get_by_text("0 sessions have notes.").wait_for()
        assert page.locator("iframe").count() == 0
