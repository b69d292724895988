"""What is denied is told: from the words of a tool, the proxy, the control groups and the init process to the chat."""

from __future__ import annotations

import asyncio
import os
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oqto_plugin_sandbox import limits
from oqto_plugin_sandbox.denials import clues, judging
from oqto_plugin_sandbox.egress.rules import decide
from oqto_plugin_sandbox.policy.load import Owner
from oqto_plugin_sandbox.policy.model import Policy
from oqto_plugin_sandbox.sandboxes import Sandboxes

from oqto_platform.canon import AccessDenied, Notify
from oqto_platform.types import SpawnPlan, ToolCall

PI_READ = "ENOENT: no such file or directory, access '{path}'"


class Place:
    """A home with a workspace, and what its sandboxes tell."""

    def __init__(self, root) -> None:
        self.home, self.workspace = root / "home", root / "home/ws"
        (self.workspace / ".oqto").mkdir(parents=True)
        (self.home / ".ssh").mkdir()
        (self.home / ".ssh/id_rsa").write_text("CANARY")
        (self.workspace / "file").write_text("content")
        state = root / "state"
        state.mkdir()
        self.told: list = []
        self.reports: list = []
        who = Owner(home=str(self.home), uid=os.getuid(), system_files=(), is_team=False)
        self.boxes = Sandboxes(
            who,
            state,
            lambda _, decision: None,
            (),
            lambda *report: self.reports.append(report),
            lambda _, event: self.told.append(event),
        )

    def policy(self, text: str) -> str:
        (self.workspace / ".oqto/sandbox.toml").write_text(text)
        return f"{self.workspace}/.oqto/sandbox.toml"

    async def run(self, script: str, name: str = "ses_x") -> str:
        spawn = SpawnPlan(
            argv=("/bin/sh", "-c", script), cwd=str(self.workspace), env={"HOME": str(self.home)}
        )
        confined = await self.boxes.confine(name, str(self.workspace), spawn)
        process = await asyncio.create_subprocess_exec(
            *confined.argv, env={}, pass_fds=confined.fds, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, cwd=confined.cwd,
        )  # fmt: skip
        for fd in confined.fds:
            os.close(fd)
        out, _ = await process.communicate()
        return out.decode(errors="replace")

    async def tool(self, script: str) -> str:
        """The agent runs `script` as a tool, and the runner tells of it."""
        output = await self.run(script)
        await self.heard({"command": script}, {"content": [{"type": "text", "text": output}]})
        return output

    async def heard(self, asked, answered, call_id="call_1", *, is_error=False) -> None:
        call = ToolCall(id=call_id, name="bash", input=asked, output=answered, is_error=is_error)
        await self.boxes.heard("ses_x", call)

    @property
    def denials(self) -> list[AccessDenied]:
        return [event for event in self.told if isinstance(event, AccessDenied)]


@pytest.fixture
async def place(own_home):
    made = Place(own_home)
    yield made
    await made.boxes.close()


@pytest.mark.parametrize(
    "how",
    [
        "cat ~/.ssh/id_rsa",
        "cat {home}/.ssh/id_rsa",
        "cd ~/.ssh",
        "ls ../.ssh",
        "head -c1 '{home}/.ssh/id_rsa'",
    ],
)
async def test_a_secret_that_a_tool_could_not_read_is_explained(place, how):
    output = await place.tool(how.format(home=place.home))
    assert "CANARY" not in output
    (denial,) = place.denials
    assert (denial.kind, denial.key, denial.stated) == ("path", "deny_read", "profile development")
    assert denial.rule == f"deny_read: {place.home}/.ssh"
    assert "it can neither be read nor written" in denial.sentence or "is not there" in denial.sentence
    assert denial.sentence.endswith("Rule: deny_read: ~/.ssh (profile development)")
    assert denial.tool_call_id == "call_1"


async def test_the_file_that_states_the_rule_is_named(place):
    file = place.policy('profile = "development"\n\ndeny_read = ["secrets"]\n')
    (place.workspace / "secrets").mkdir()
    await place.tool("cat secrets/key")
    (denial,) = place.denials
    assert (denial.rule, denial.stated) == (f"deny_read: {place.workspace}/secrets", f"{file}:3")


@pytest.mark.parametrize(
    ("how", "rule"),
    [
        ("echo enabled=false > .oqto/sandbox.toml", "protect_defaults"),
        ("rm -rf .oqto", "protect_defaults"),
        ("touch ~/new", 'home = "ro"'),
        ("echo x >> /etc/profile", "system"),
    ],
)
async def test_a_write_that_was_denied_is_explained(place, how, rule):
    place.policy("")
    await place.tool(how)
    assert [denial.rule for denial in place.denials] == [rule]
    assert "not written" in place.denials[0].sentence or "cannot be made" in place.denials[0].sentence


@pytest.mark.parametrize(
    "how",
    [
        "cat missing",
        "cat ~/nothing",
        "ls /nowhere",
        "cat file",
        "echo permission denied",
        "./missing.sh",
        "cat sub/missing",
    ],
)
async def test_what_is_simply_not_there_is_nobodys_fault(place, how):
    await place.tool(how)
    assert place.denials == []


async def test_each_tool_call_is_told_each_rule_once(place):
    script = "cat ~/.ssh/a ~/.ssh/b; touch ~/x; cat ~/.ssh/c"
    output = await place.run(script)
    for call_id in ("call_1", "call_2"):
        await place.heard({"command": script}, output, call_id)
    assert sorted((d.tool_call_id, d.key) for d in place.denials) == [
        ("call_1", "deny_read"), ("call_1", "home"), ("call_2", "deny_read"), ("call_2", "home"),
    ]  # fmt: skip


async def test_the_words_of_pis_own_tools(place):
    place.policy("")
    await place.run("true")
    await place.heard({"path": "~/.ssh/id_rsa"}, PI_READ.format(path=f"{place.home}/.ssh/id_rsa"), "read")
    await place.heard(
        {"path": ".oqto/sandbox.toml", "edits": [{"oldText": "a", "newText": "b"}]},
        "Could not edit file: .oqto/sandbox.toml. Error code: EROFS.",
        "edit",
    )
    assert [(d.tool_call_id, d.key) for d in place.denials] == [
        ("read", "deny_read"),
        ("edit", "protect_defaults"),
    ]


@pytest.mark.parametrize("mode", ["isolated", "proxy"])
async def test_a_port_of_somebody_else_is_explained_and_a_free_one_is_not(place, mode):
    file = place.policy(f'[network]\nmode = "{mode}"\n')
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        output = await place.tool(f'/usr/bin/python3 -c "{code}"')
    assert "Connection refused" in output
    (denial,) = place.denials
    assert (denial.kind, denial.target, denial.stated) == ("network", f"127.0.0.1:{port}", f"{file}:2")
    assert f"services of this machine cannot be reached. Rule: network.mode = {mode}" in denial.sentence
    await place.heard({"command": f"curl localhost:{port}"}, output, "call_2")
    assert len(place.denials) == 1


async def test_a_tool_that_fails_without_a_word_is_explained_by_what_it_was_asked(place):
    place.policy("isolate_network = true\n")
    await place.run("true")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asked = {"command": f"nc -z localhost {port}; cat ~/.ssh/id_rsa 2>/dev/null"}
        await place.heard(asked, "(no output)\n\nCommand exited with code 1", is_error=True)
        await place.heard(asked, "fine", "call_2")
    assert sorted(denial.key for denial in place.denials) == ["deny_read", "network.mode"]


async def test_a_name_that_cannot_be_resolved_in_isolation_is_explained(place):
    place.policy("isolate_network = true\n")
    await place.run("true")
    await place.heard(
        {"command": "curl https://example.org/x"}, "curl: (6) Could not resolve host: example.org"
    )
    assert [denial.target for denial in place.denials] == ["example.org:443"]


async def test_a_decision_of_the_proxy_is_told_once_in_a_while(place):
    file = place.policy('[network]\nmode = "proxy"\nallow_domains = ["ok.test"]\n')
    await place.run("true")
    network = place.boxes._attached["ses_x"].voice._held.policy.network
    for _ in range(3):
        place.boxes._decided("ses_x", decide(network, "evil.test", 443))
    place.boxes._decided("ses_x", decide(network, "ok.test", 443))
    (denial,) = place.denials
    assert (denial.target, denial.key, denial.stated) == (
        "evil.test:443",
        "network.allow_domains",
        f"{file}:3",
    )


async def test_a_wall_of_denials_ends(place):
    place.policy('[network]\nmode = "proxy"\nallow_domains = ["ok.test"]\n')
    await place.run("true")
    network = place.boxes._attached["ses_x"].voice._held.policy.network
    for number in range(300):
        place.boxes._decided("ses_x", decide(network, f"evil{number}.test", 443))
    assert len(place.denials) == 200
    assert [event.level for event in place.told if isinstance(event, Notify)] == ["warning"]


async def test_a_background_process_is_named_when_it_ends_with_the_session(place):
    await place.run(
        "sleep 998 & a=$!; nohup setsid sleep 999 >/dev/null 2>&1 & "
        'for each in $a $!; do until [ "$(cat /proc/$each/comm)" = sleep ]; do :; done; done; exit 0'
    )
    await place.boxes.gone("ses_x")
    (denial,) = place.denials
    assert (denial.kind, denial.target, denial.key) == ("process", "sleep", "isolate_pid")
    assert denial.sentence.startswith(
        "2 background processes were ended with the session: sleep. Rule: isolate_pid"
    )


async def test_an_agent_that_leaves_nothing_is_not_blamed(place):
    await place.run("sleep 0.01 & wait")
    await place.boxes.gone("ses_x")
    assert place.told == []


async def test_the_end_of_time_is_told(place):
    file = place.policy("[limits]\nwall_seconds = 1\n")
    await place.run("exec sleep 60")
    await place.boxes.gone("ses_x")
    (denial,) = place.denials
    assert (denial.kind, denial.rule, denial.stated) == ("limit", "limits.wall_seconds = 1", f"{file}:2")


@pytest.mark.skipif(not all(limits.available().values()), reason="no control groups to write to")
async def test_a_limit_that_killed_a_child_of_the_agent_is_told(place):
    place.policy("[limits]\nmemory_mb = 64\npids = 24\n")
    hog = "/usr/bin/python3 -c 'x = bytearray(200 << 20)'"
    fork = "for i in $(seq 60); do sleep 5 & done"
    await place.tool(f"{hog}; echo on; ( {fork} ) 2>/dev/null; true")
    assert {denial.key for denial in place.denials} == {"limits.memory_mb", "limits.pids"}
    assert any("limits.memory_mb = 64" in denial.sentence for denial in place.denials)


async def test_a_file_that_grew_too_large_is_told(place):
    place.policy("[limits]\nfile_size_mb = 1\n")
    await place.tool("trap '' XFSZ; head -c 3000000 /dev/zero > big")
    assert [denial.key for denial in place.denials] == ["limits.file_size_mb"]


def test_more_background_processes_than_are_counted_are_not_called_so_many():
    told = [judging.processes_ended(Policy(), ["sleep"] * count).sentence for count in (63, 64)]
    assert told[0].startswith("63 background processes were ended with the session: sleep. ")
    assert told[1].startswith("At least 64 background processes were ended with the session: sleep. ")


async def test_a_name_that_programs_obey_is_shown_when_the_agent_made_it(place):
    await place.run("mkdir .vscode && echo '{}' > .vscode/tasks.json")
    await place.boxes.gone("ses_x")
    (warning,) = place.told
    assert warning.message.startswith(".vscode is new")
    await place.boxes.ended("ses_x")
    assert len(place.reports) == 1


async def test_a_gap_is_told_when_the_session_has_a_log(place):
    file = place.home / ".netrc"
    file.write_text("x")
    os.link(file, place.workspace / "other")
    await place.run("true")
    assert place.told == []
    place.boxes.begun("ses_x")
    assert ".netrc is denied but has 1 more name" in place.told[0].message


async def test_nothing_is_told_of_sessions_that_are_not_here(place):
    await place.boxes.heard("ses_other", ToolCall(id="1", name="bash", output="Permission denied: ~/.ssh"))
    await place.boxes.gone("ses_other")
    place.boxes.begun("ses_other")
    assert place.told == []


@given(
    st.recursive(
        st.text(max_size=60) | st.none() | st.integers(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_words_of_an_agent_are_survived(answered):
    found = clues.find(answered, ["no such file, connection refused", answered])
    assert len(found.read) <= clues.MAX_PATHS
    assert all(0 < port < 65536 for _, port in found.reached)


@pytest.mark.parametrize("piece", ["a.", "'a", "/a", "a://", "a-", " ", "~/", ".", "a:1 ", "1.", "é/"])
def test_no_words_of_an_agent_keep_the_runner_busy(piece):
    words = "no such file connection refused " + piece * 200_000
    started = time.process_time()
    clues.find(words, words)
    assert time.process_time() - started < 5
