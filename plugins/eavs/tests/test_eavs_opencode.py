"""The agent opencode, unmodified, through the proxy in all four dialects; where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[3] / ".tools"
PATH = os.pathsep.join([str(TOOLS / "opencode/node_modules/opencode-linux-x64/bin"), os.environ["PATH"]])
EXECUTABLE = shutil.which("opencode", path=PATH)
ASK = '[[usage 100 50 30]] [[tool bash {"command": "echo from-opencode", "description": "say"}]] [[say all done]]'
KINDS = {
    "fake": ("@ai-sdk/openai-compatible", "/v1"),
    "openai": ("@ai-sdk/openai", "/v1"),
    "claude": ("@ai-sdk/anthropic", "/v1"),
    "gemini": ("@ai-sdk/google", "/v1beta"),
}


@pytest.mark.real
@pytest.mark.skipif(EXECUTABLE is None, reason="opencode is not installed (npm package opencode-ai)")
@pytest.mark.parametrize("name", KINDS)
def test_a_real_opencode(proxy, provider, cost_of, tmp_path, name):
    package, end = KINDS[name]
    options = {"baseURL": f"{proxy.url}/p/{name}{end}", "apiKey": "{env:EAVS_API_KEY}"}
    model = {"name": "fake-1", "limit": {"context": 128_000, "output": 4_000}}
    source = {"npm": package, "name": name, "options": options, "models": {"fake-1": model}}
    config = {"autoupdate": False, "share": "disabled", "provider": {"proxy": source}}
    (tmp_path / "opencode.json").write_text(json.dumps(config))
    env = {"HOME": str(tmp_path), "PATH": PATH, "EAVS_API_KEY": proxy.key()}
    env |= {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    argv = [EXECUTABLE, "run", "-m", "proxy/fake-1"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, input=ASK, capture_output=True, text=True, timeout=100)
    assert "all done" in done.stdout, done.stderr
    assert "from-opencode" in done.stderr
    rows = proxy.settled(len(provider.requests))
    assert sum(row["cost_nusd"] for row in rows) == sum(cost_of(r.usage) for r in provider.requests)
