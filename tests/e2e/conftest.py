"""A real Chromium against a real server with a real pi; only the model is scripted, or the demo."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from oqto_platform.testing.llm import ScriptedProvider
from oqto_platform.testing.stack import NAME, PASSWORD, Stack

ROOT = Path(__file__).resolve().parents[2]
TOOLS = (ROOT / ".tools/node/bin", ROOT / ".tools/pi/node_modules/.bin")
AXE = ROOT / "frontend/node_modules/axe-core/axe.min.js"
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
FAULTS = """async () => {
  const found = await axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  });
  return found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ")}`);
}"""


@pytest.fixture(scope="session", autouse=True)
def tools_on_path() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.pathsep.join([*map(str, TOOLS), os.environ["PATH"]]))
        yield


@pytest.fixture(scope="module")
def chromium(tools_on_path: None):
    # Of the module, not of the session: while it lives, no event loop can run in this process.
    if not (binary := shutil.which("chromium")):
        pytest.skip("chromium is not installed")
    if not shutil.which("bwrap") or not shutil.which("pi"):
        pytest.skip("bubblewrap or pi is not installed; make setup installs them")
    if not (ROOT / "oqto_platform/ui/index.html").exists():
        pytest.skip("the web UI is not built; make ui builds it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def stack(tmp_path: Path, chromium) -> Iterator[Stack]:
    """A fresh server, no account yet, with two files in its workspace."""
    with Stack(tmp_path) as server:
        furnish(server.workspace)
        yield server


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(require_key="right", models=("gpt-4o-mini",)) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, chromium) -> Iterator[Stack]:
    """One server with an account for all tests of a file."""
    with Stack(tmp_path_factory.mktemp("server")) as shared:
        furnish(shared.workspace)
        shared.set_up()
        yield shared


def furnish(workspace: Path) -> None:
    (workspace / "README.md").write_text("# Lighthouse\nKeeps ships off the rocks.\n")
    (workspace / "lamp.py").write_text("print('light')\n")


@pytest.fixture
def open_page(chromium) -> Iterator[Callable]:
    """Open a page; at the end no page may have had an error of its own."""
    problems: list[str] = []
    contexts = []

    def make(device: dict = DESKTOP, *, beside=None, **options):
        context = beside.context if beside else chromium.new_context(**device, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(int(os.environ.get("OQTO_E2E_TIMEOUT_MS", "20000")))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if is_fault(message) else None)
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []


def is_fault(message) -> bool:
    """What the browser itself says of an answer that is no success, or of a server that is away, is no fault."""
    theirs = ("net::ERR_", "WebSocket", "Failed to load resource")
    return message.type == "error" and not any(words in message.text for words in theirs)


@pytest.fixture
def open_signed_in(server: Stack, open_page) -> Callable:
    """Open a page of the shared server with a sign-in of its own."""

    def make(path: str = "#/", device: dict = DESKTOP, **options):
        server.sign_in()
        page = open_page(device, **options)
        cookie = {"name": "oqto", "value": server.client.cookies["oqto"], "url": server.url}
        page.context.add_cookies([cookie])
        page.goto(f"{server.url}/{path}")
        page.get_by_role("main").wait_for()
        return page

    return make


@pytest.fixture
def do() -> SimpleNamespace:
    """What a person does on a page, by the words that stand on it."""
    return SimpleNamespace(
        make_account=make_account,
        start_demo_session=start_demo_session,
        composer=composer,
        ask=ask,
        faults=faults,
        shot=shot,
        log=lambda page: page.get_by_role("log"),
        desktop=DESKTOP,
        phone=PHONE,
    )


def make_account(page, stack: Stack) -> None:
    page.goto(f"{stack.url}/#/setup/{stack.setup_token()}")
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("button", name=re.compile("demo")).wait_for()


def start_demo_session(page) -> None:
    page.get_by_role("button", name=re.compile("demo")).first.click()
    page.get_by_text("is your home, where your keys and settings are").wait_for()
    assert page.get_by_role("button", name="Start", exact=True).is_disabled()
    page.get_by_role("button", name="project").first.click()
    page.get_by_text("No folders in here").wait_for()
    page.get_by_role("button", name="Start", exact=True).click()
    composer(page).wait_for()


def composer(page):
    return page.get_by_role("textbox", name="Message")


def ask(page, text: str) -> None:
    composer(page).fill(text)
    composer(page).press("Enter")


def faults(page) -> list[str]:
    """What axe-core finds wrong with the page as it stands."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed; make setup installs it")
    page.evaluate(AXE.read_text() + ";0")
    return page.evaluate(FAULTS)


def shot(page, name: str) -> None:
    """Keep a picture when somebody wants to look (OQTO_SCREENSHOTS=folder)."""
    if folder := os.environ.get("OQTO_SCREENSHOTS", ""):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")
