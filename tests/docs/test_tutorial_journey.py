"""The tutorial, done: the requests that it names, with a real pi in a real sandbox, do what it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from oqto_platform.testing.mux import mux_client
from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.real

PAGE = "docs/tutorial/first-session.md"


@pytest.fixture
def stack(repository, tmp_path_factory):
    pi = repository / ".tools" / "pi" / "node_modules" / ".bin" / "pi"
    node = repository / ".tools" / "node" / "bin" / "node"
    if not pi.exists() or shutil.which("bwrap") is None:
        pytest.skip("pi or bubblewrap is not installed")
    root = Path(tmp_path_factory.mktemp("t", numbered=True))
    with Stack(root, env={"OQTO_PI": str(pi), "OQTO_NODE": str(node)}) as stack:
        stack.set_up()
        yield stack


def requests_of(page: str) -> list[str]:
    """The requests of the list in step 5."""
    part = page.split("## 5. ")[1].split("## 6. ", maxsplit=1)[0]
    return [text.strip() for _, text in re.findall(r"^- (`{1,2})(.+?)\1:", part, re.MULTILINE)]


async def test_the_requests_of_the_tutorial_do_what_it_says(stack, documents):
    asks = requests_of(documents.pages[PAGE])
    assert len(asks) == 3
    session = stack.start_session(provider="demo", model="demo")
    async with mux_client(stack.url, stack.cookie()) as mux:
        await mux.command(session["id"], "subscribe", after=0)
        seen = []
        for number, ask in enumerate(asks):
            since = len(mux.events)
            reply = await mux.command(session["id"], "prompt", message=ask, client_id=f"t{number}")
            assert reply["success"], reply
            await mux.until(lambda event: event["event"] == "agent.idle", since=since, timeout_s=60)
            seen.append(mux.events[since:])
    assert (stack.workspace / "hello.py").is_file()
    outputs = [str([e for e in events if e["event"] == "tool.end"]) for events in seen]
    assert "Hello" in outputs[1]
    assert "hello.py" in outputs[2]


def test_words_on_buttons_are_those_of_the_interface(documents, repository):
    texts = "\n".join(path.read_text() for path in (repository / "frontend" / "src" / "i18n").glob("*.ts"))
    for page in (PAGE, "docs/how-to/add-a-model-provider.md"):
        for words in re.findall(r"\*\*([^*]+)\*\*", documents.pages[page]):
            assert f'"{words}' in texts, f"{page}: the interface has no {words!r}"
