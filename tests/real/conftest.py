"""Real servers for the tests of this folder: Granian, runner, bubblewrap, pi; only the model is scripted."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted import scripted_env

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


@pytest.fixture
def pi_stack(tmp_path: Path, needs_pi: None, provider: ScriptedProvider) -> Iterator[Callable[..., Stack]]:
    """Make a signed-in server whose sessions use pi against the scripted provider."""
    made: list[Stack] = []

    def make(**eavs: object) -> Stack:
        stack = Stack(tmp_path, env=scripted_env(tmp_path, provider, **eavs))
        made.append(stack)
        stack.__enter__()
        stack.set_up()
        return stack

    yield make
    for stack in made:
        stack.__exit__(None, None, None)
