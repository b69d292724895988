"""Real servers for the tests of this folder: Granian, runner, bubblewrap, pi; only the model is scripted."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oqto_platform.testing.llm import ScriptedProvider
from oqto_platform.testing.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
TOOLS = (ROOT / ".tools/node/bin", ROOT / ".tools/pi/node_modules/.bin")
GRANIAN = str(Path(sys.executable).with_name("granian"))


@pytest.fixture(scope="session", autouse=True)
def tools_on_path() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.pathsep.join([*map(str, TOOLS), os.environ["PATH"]]))
        yield


@pytest.fixture(scope="session")
def needs_bubblewrap() -> None:
    if not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed")


@pytest.fixture(scope="session")
def needs_pi(tools_on_path: None, needs_bubblewrap: None) -> None:
    if not shutil.which("pi"):
        pytest.skip("pi is not installed; make setup installs it")


@pytest.fixture
def echo_stack(tmp_path: Path, needs_bubblewrap: None) -> Iterator[Stack]:
    """A signed-in server without an LLM proxy; its sessions use the harness `echo`."""
    with Stack(tmp_path, plugins=("sandbox",)) as stack:
        stack.set_up()
        yield stack


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as scripted:
        yield scripted


def scripted_config(root: Path, provider: ScriptedProvider, **eavs: object) -> Path:
    """A config.toml with the scripted provider, priced."""
    path = root / "config.toml"
    lines = [f"{name} = {value}" for name, value in eavs.items()]
    path.write_text(
        "[eavs]\n"
        + "\n".join(lines)
        + f"""
[eavs.providers.scripted]
kind = "openai-compatible"
base_url = "{provider.url}/v1"
api_key = "env:REAL_PROVIDER_KEY"
models = ["fake-1"]
[eavs.providers.scripted.prices.fake-1]
input = 1.0
output = 2.0
"""
    )
    return path


@pytest.fixture
def pi_stack(tmp_path: Path, needs_pi: None, provider: ScriptedProvider) -> Iterator[Callable[..., Stack]]:
    """Make a signed-in server whose sessions use pi against the scripted provider."""
    made: list[Stack] = []

    def make(**eavs: object) -> Stack:
        config = scripted_config(tmp_path, provider, **eavs)
        env = {"OQTO_CONFIG": str(config), "REAL_PROVIDER_KEY": "sk-real-canary-0123456789"}
        stack = Stack(tmp_path, env=env)
        made.append(stack)
        stack.__enter__()
        stack.set_up()
        return stack

    yield make
    for stack in made:
        stack.__exit__(None, None, None)
