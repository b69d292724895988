"""What a real pi can do, through the page: commands, conversations, models, queues, pictures, questions."""

from __future__ import annotations

import base64
import re

import pytest

from oqto_platform.testing.llm import ScriptedProvider

pytestmark = pytest.mark.e2e

ASKS = """
export default function (pi) {
  pi.registerCommand("survey", {
    description: "Asks in four ways",
    handler: async (_args, ctx) => {
      const colour = await ctx.ui.select("Which colour?", ["red", "green"]);
      const sure = await ctx.ui.confirm("Sure?", "It is only a colour.", { timeout: 60000 });
      const name = await ctx.ui.input("Whose name?", "a name");
      const text = await ctx.ui.editor("Last words?", "so long");
      ctx.ui.notify(`${colour}/${sure}/${name}/${text}`);
    },
  });
}
"""
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
)
GIVE = """([kind, data]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], `${kind}.png`, {type: "image/png"}));
  const area = document.querySelector(".composer textarea");
  const event = kind === "paste"
    ? new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true, cancelable: true})
    : new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true});
  area.dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def model():
    with ScriptedProvider(models=("gpt-5-mini", "gpt-4o-mini")) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def source(server, model):
    """The scripted provider as a source of models."""
    source = {
        "name": "script",
        "kind": "openai-compatible",
        "base_url": f"{model.url}/v1",
        "allow_unpriced": True,
    }
    server.client.post("/api/plugins/eavs/providers", json=source).raise_for_status()
    return "script"


@pytest.fixture
def open_pi(server, source, open_signed_in):
    """Open a new session with pi and the scripted model."""

    def make(**options):
        session = server.start_session(provider=source, model="gpt-5-mini")
        page = open_signed_in(f"#/session/{session['id']}", **options)
        rest(page)
        return page

    return make


def choose(page, menu, item) -> None:
    page.get_by_role("button", name=menu).click()
    page.get_by_role("menu").get_by_text(item).first.click()


def rest(page) -> None:
    page.locator(".chat-header").get_by_text("Ready").wait_for()


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_conversations_are_left_come_back_to_and_gone_back_in(open_pi, do, device):
    page = open_pi(device=getattr(do, device))
    log = do.log(page)
    for number in ("one", "two"):
        do.ask(page, f"{number} [[say answer {number}]]")
        log.get_by_text(f"answer {number}", exact=True).wait_for()
        rest(page)
    choose(page, "More for this session", "Go back to an earlier message")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="two [[say").wait_for()
    do.shot(page, f"{device}-go-back")
    assert do.faults(page) == []
    dialog.get_by_role("button", name="two [[say").click()
    log.get_by_text("Went back, and on from there.").wait_for()
    assert do.composer(page).input_value() == "two [[say answer two]]"
    assert log.get_by_text("answer two", exact=True).count() == 0
    do.composer(page).fill("/new")
    page.get_by_role("option", selected=True).get_by_text("/new").wait_for()
    do.composer(page).press("Enter")
    log.get_by_text("A new conversation began here.").wait_for()
    assert log.get_by_text("answer one", exact=True).count() == 0
    do.ask(page, "three [[say answer three]]")
    log.get_by_text("answer three", exact=True).wait_for()
    rest(page)
    choose(page, "More for this session", "Other conversations")
    dialog.get_by_role("button", name="one [[say").first.click()
    log.get_by_text("Continued an earlier conversation.").wait_for()
    log.get_by_text("answer one", exact=True).wait_for()
    page.reload()
    log.get_by_text("answer one", exact=True).wait_for()
    assert log.get_by_text("answer three", exact=True).count() == 0


def test_a_model_a_level_and_a_shorter_memory_are_chosen(open_pi, do, model):
    page = open_pi()
    log = do.log(page)
    choose(page, re.compile("^Thinking"), "High")
    page.get_by_role("button", name="Thinking: High").wait_for()
    do.ask(page, "first [[say thought about]]")
    log.get_by_text("thought about", exact=True).wait_for()
    assert model.requests[-1].body["model"] == "gpt-5-mini"
    rest(page)
    choose(page, "gpt-5-mini", "gpt-4o-mini")
    page.get_by_role("button", name="gpt-4o-mini").wait_for()
    do.ask(page, "second [[say no thought]]")
    log.get_by_text("no thought", exact=True).wait_for()
    assert model.requests[-1].body["model"] == "gpt-4o-mini"
    rest(page)
    do.composer(page).fill("/com")
    do.composer(page).press("Enter")
    log.get_by_text(re.compile("shortened its memory|could not shorten")).wait_for()


def test_what_is_said_while_it_works_is_read_after_the_step_or_the_turn(open_pi, do):
    page = open_pi()
    log = do.log(page)
    do.ask(page, "begin [[slow 60 0.1]]")
    log.get_by_text(re.compile("w0 w1")).wait_for()
    do.composer(page).fill("later [[say read later]]")
    do.composer(page).press("Alt+Enter")
    waiting = page.get_by_role("region", name="Waiting messages")
    waiting.get_by_text("after this turn").wait_for()
    do.composer(page).fill("now [[say read now]]")
    do.composer(page).press("Enter")
    waiting.get_by_text("after this step").wait_for()
    do.shot(page, "desktop-queue")
    assert do.faults(page) == []
    log.get_by_text("read later", exact=True).wait_for()
    rest(page)
    said = [one.inner_text() for one in log.get_by_role("article").all()]
    order = [
        next(at for at, text in enumerate(said) if text.startswith(words))
        for words in ("read now", "read later")
    ]
    assert order == sorted(order)
    assert waiting.count() == 0


def test_pictures_are_pasted_dropped_and_chosen(open_pi, do, model):
    page = open_pi()
    do.composer(page).focus()
    data = base64.b64encode(DOT).decode()
    for kind in ("paste", "drop"):
        page.evaluate(GIVE, [kind, data])
        page.get_by_role("img", name=f"{kind}.png").wait_for()
    chosen = {"name": "chosen.png", "mimeType": "image/png", "buffer": DOT}
    page.locator("input[type=file]").set_input_files(chosen)
    page.get_by_role("img", name="chosen.png").wait_for()
    do.shot(page, "desktop-pictures")
    assert do.faults(page) == []
    page.get_by_role("button", name="Remove drop.png").click()
    do.ask(page, "What is it? [[say a dot]]")
    do.log(page).get_by_text("a dot", exact=True).wait_for()
    assert str(model.requests[-1].body).count("data:image/png;base64,") == 2
    page.reload()
    do.log(page).get_by_text("a dot", exact=True).wait_for()
    assert do.log(page).get_by_role("img", name="Attached picture").count() == 2


def test_a_command_of_an_extension_asks_in_four_ways(server, source, open_signed_in, do):
    session = server.start_session(provider=source, model="gpt-5-mini")
    (home,) = server.root.rglob(f"{session['id']}/agent/pi")
    server.client.post(f"/api/sessions/{session['id']}/stop").raise_for_status()
    (home / "extensions").mkdir(exist_ok=True)
    (home / "extensions/asks.ts").write_text(ASKS)
    server.client.post(f"/api/sessions/{session['id']}/resume").raise_for_status()
    page = open_signed_in(f"#/session/{session['id']}")
    rest(page)
    do.composer(page).press("/")
    page.get_by_role("option", name="/survey Asks in four ways").wait_for()
    do.shot(page, "desktop-slash")
    assert do.faults(page) == []
    do.composer(page).press_sequentially("su")
    do.composer(page).press("Tab")
    assert do.composer(page).input_value() == "/survey "
    do.composer(page).press("Enter")
    card = page.get_by_role("region", name="Which colour?")
    card.get_by_role("button", name="green").click()
    page.get_by_role("region", name="Sure?").get_by_text(re.compile("left")).wait_for()
    page.get_by_role("button", name="Yes").click()
    page.get_by_role("region", name="Whose name?").get_by_label("Your answer").fill("Ada")
    page.keyboard.press("Enter")
    page.get_by_role("region", name="Last words?").get_by_label("Your answer").fill("see you")
    page.get_by_role("button", name="Answer", exact=True).click()
    do.log(page).get_by_text("green/true/Ada/see you").wait_for()
