"""The demo model: deterministic, over whatever tools an agent offers; and a real pi that talks to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from oqto_plugin_eavs import control
from oqto_plugin_eavs.demo_script import Talk, answer

TOOLS = {
    "bash": {"properties": {"command": {}}},
    "read": {"properties": {"path": {}}},
    "write": {"properties": {"path": {}}},
}
LISTING = """total 12
drwxr-xr-x 3 a a 4096 Nov 22 04:00 .
drwxr-xr-x 3 a a 4096 Nov 22 04:00 ..
-rw-r--r-- 1 a a 2048 Nov 22 04:00 README.md
-rw-r--r-- 1 a a  512 Nov 22 04:00 notes of mine.txt
drwxr-xr-x 2 a a 4096 Nov 22 04:00 src
"""
ROOT = Path(__file__).parents[3]


def turn(question, *results, tools=TOOLS):
    return answer(Talk(question, tools, results))


def test_it_looks_reads_and_sums_up():
    assert turn("What is in this folder?").arguments == {"command": "ls -la"}
    assert turn("What is in this folder?", LISTING).arguments == {"path": "README.md"}
    summary = turn("What is in this folder?", LISTING, "# My project\n").text
    for words in (
        "**2 files**",
        "**1 folder**",
        "`README.md` (2,048 bytes)",
        "`notes of mine.txt`",
        "*My project*",
    ):
        assert words in summary


def test_it_uses_the_names_of_other_agents():
    tools = {"write": {"properties": {"filePath": {}, "content": {}}}}
    assert turn("Please write a file hello.py", tools=tools).arguments["filePath"] == "hello.py"


def test_it_runs_and_writes():
    assert turn("run `uname -a`").arguments == {"command": "uname -a"}
    assert "Linux" in turn("run `uname -a`", "Linux x\n").text
    assert turn("create hello.py").tool == "write"
    assert turn("create hello.py", "ok").arguments == {"command": "python3 hello.py"}
    assert "empty" in turn("list files", "total 0\ndrwxr-xr-x 2 a a 40 Nov 22 04:00 .\n").text


@pytest.mark.parametrize("question", ["Hello", "", "What is love?", "[[tool]]", "ls"])
def test_anything_else_or_without_tools_it_says_what_it_is(question):
    assert "demo model" in turn(question, tools={}).text


@pytest.mark.parametrize("stream", [False, True])
def test_over_http(proxy, stream):
    body = {
        "model": "demo",
        "stream": stream,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    headers = {"authorization": f"Bearer {proxy.key(limit_usd=0.0)}"}
    reply = proxy.client.post("/v1/chat/completions", headers=headers, json=body)
    assert reply.status_code == 200
    assert ("[DONE]" in reply.text) is stream
    (row,) = proxy.settled()
    assert (row["provider"], row["cost_nusd"], row["is_estimated"]) == ("demo", 0, 0)
    assert row["output"] > 0


def node() -> Path:
    """The checkout's own Node, or one on the path; new enough for pi."""
    found = ROOT / ".tools/node/bin/node"
    if not found.exists() and not (found := shutil.which("node")):
        pytest.skip("no Node for pi; make setup installs it")
    return Path(found)


@pytest.mark.real
@pytest.mark.parametrize(
    ("provider_name", "question", "said"),
    [
        ("demo", "What is in this folder?", "My project"),
        (
            "fake",
            '[[usage 100 50 30]] [[tool bash {"command": "echo from-pi"}]] [[say all done]]',
            "all done",
        ),
        (
            "claude",
            '[[usage 100 50 30]] [[tool bash {"command": "echo from-pi"}]] [[say all done]]',
            "all done",
        ),
        (
            "openai",
            '[[usage 100 50 30]] [[tool bash {"command": "echo from-pi"}]] [[say all done]]',
            "all done",
        ),
        (
            "gemini",
            '[[usage 100 50 30]] [[tool bash {"command": "echo from-pi"}]] [[say all done]]',
            "all done",
        ),
    ],
)
def test_a_real_pi(proxy, provider, cost_of, tmp_path, provider_name, question, said):
    link = ROOT / ".tools/pi/node_modules/.bin/pi"
    if not link.exists():
        pytest.skip("pi is not installed; run make setup")
    workspace = pi_home(proxy, tmp_path)
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "EAVS_API_KEY": proxy.key(), "PI_OFFLINE": "1"}
    model = "demo" if provider_name == "demo" else "fake-1"
    argv = [
        node(),
        link.resolve(),
        "-p",
        question,
        "--provider",
        provider_name,
        "--model",
        model,
        "--no-session",
    ]
    done = subprocess.run(
        argv, cwd=workspace, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert said in done.stdout, done.stderr
    rows = proxy.settled(2)
    assert sum(row["cost_nusd"] for row in rows) == sum(
        cost_of(request.usage) for request in provider.requests
    )
    assert not any(row["is_estimated"] for row in rows)
    shutil.rmtree(workspace)


def pi_home(proxy, home):
    sources = proxy.ask(control.Sources(proxy_url=proxy.url)).sources
    providers = {}
    for source in sources:
        models = [
            {"id": m.id, "input": ["text"], "contextWindow": 128000, "maxTokens": 8192} for m in source.models
        ]
        providers[source.name] = {
            "baseUrl": source.base_url,
            "api": source.api,
            "apiKey": "$EAVS_API_KEY",
            "models": models,
        }
    settings = home / ".pi" / "agent"
    settings.mkdir(parents=True)
    (settings / "models.json").write_text(json.dumps({"providers": providers}))
    workspace = home / "work"
    workspace.mkdir()
    (workspace / "README.md").write_text("# My project\n")
    return workspace
