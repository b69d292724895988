"""What the sandbox denies is said in the chat, with its rule; what it allows works."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from scripted import scripted_env

from oqto_platform.testing.llm import ScriptedProvider
from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.e2e

POLICY = 'deny_read = [".env"]\n\n[network]\nmode = "isolated"\n'
PACKAGE = {"name": "w", "version": "1.0.0", "scripts": {"test": "node -e \"console.log('tests', 'pass')\""}}


@pytest.fixture
def held(tmp_path: Path, chromium):
    """A server whose only workspace has a policy of its own, and a model that does what the message says."""
    with ScriptedProvider() as provider, Stack(tmp_path, env=scripted_env(tmp_path, provider)) as stack:
        stack.set_up()
        (stack.workspace / ".oqto").mkdir()
        (stack.workspace / ".oqto/sandbox.toml").write_text(POLICY)
        (stack.workspace / ".env").write_text("KEY=canary")
        (stack.workspace / "package.json").write_text(json.dumps(PACKAGE))
        yield stack


def tool(name: str, **arguments: str) -> str:
    return f"[[tool {name} {json.dumps(arguments)}]] [[say Done.]]"


def test_each_denial_ends_in_a_sentence_that_names_its_rule(held, open_page, do):
    page = open_page()
    page.context.add_cookies([{"name": "oqto", "value": held.client.cookies["oqto"], "url": held.url}])
    log = do.log(page)

    def start() -> str:
        session = held.start_session(provider="scripted", model="fake-1")
        page.goto(f"{held.url}/#/session/{session['id']}")
        return session["id"]

    def ask(text: str, *sentences: str) -> None:
        count = log.get_by_text("Done.", exact=True).count()
        do.ask(page, text)
        log.get_by_text("Done.", exact=True).nth(count).wait_for()
        for sentence in sentences:
            log.get_by_text(sentence).first.wait_for()

    def ask_for_a_port_of_somebody_else(mode: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"127.0.0.1:{server.getsockname()[1]}"
            ask(
                tool("bash", command=f"curl -sS http://{address}/"),
                f"{address} leads to the sandbox itself; services of this machine cannot be reached. "
                f"Rule: network.mode = {mode} (.oqto/sandbox.toml:4)",
            )

    session = start()
    ask(tool("bash", command="(npm install && npm test) > npm.out 2>&1"))
    assert "tests pass" in (held.workspace / "npm.out").read_text()
    assert log.get_by_text("The sandbox said no").count() == 0
    ask(tool("read", path="~/.ssh/id_rsa"), "Rule: deny_read: ")
    ask(tool("bash", command="cat .env"), "Rule: deny_read: .env (.oqto/sandbox.toml:1)")
    ask(
        tool("write", path=".oqto/sandbox.toml", content="enabled = false"),
        ".oqto/sandbox.toml can be read, not written. Rule: protect_defaults",
    )
    ask_for_a_port_of_somebody_else("isolated")
    ask(tool("bash", command="(setsid sleep 997 >/dev/null 2>&1 &) ; echo started"))
    assert do.faults(page) == []
    do.shot(page, "desktop-denied")
    held.client.post(f"/api/sessions/{session}/stop").raise_for_status()
    log.get_by_text("A background process was ended with the session: sleep. Rule: isolate_pid").wait_for()
    do.shot(page, "desktop-denied-at-the-end")
    assert (held.workspace / ".oqto/sandbox.toml").read_text() == POLICY

    (held.workspace / ".oqto/sandbox.toml").write_text(POLICY.replace("isolated", "proxy"))
    start()
    ask_for_a_port_of_somebody_else("proxy")
    assert log.get_by_text("canary").count() == 0
