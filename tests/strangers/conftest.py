"""What a stranger has: wheels, and an environment in which nothing of this checkout is seen."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(folder for folder in (ROOT / "examples").iterdir() if folder.is_dir())
KEPT = ("HOME", "LANG", "PATH", "TMPDIR", "XDG_CACHE_HOME", "OQTO_TEST_PROCESS")
TIMEOUT_S = 420


class Environment:
    """An environment made of wheels. `run(…)` runs one of its programs and gives what it says."""

    def __init__(self, python: Path, wheels: Path) -> None:
        self.python = python
        self.wheels = wheels

    def run(self, program: str, *arguments: str | Path, cwd: Path, may_fail: bool = False, **env: str) -> str:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        done = subprocess.run(
            [self.python.with_name(program), *map(str, arguments)],
            cwd=cwd,
            env={**kept, **env},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        said = done.stdout + done.stderr
        assert may_fail or done.returncode == 0, (
            f"{program} {arguments}: exit {done.returncode}\n{said[-6000:]}"
        )
        return said


@pytest.fixture(scope="session")
def tools_of_the_checkout():
    """The modules below `tools/`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        import wheels

        yield wheels


@pytest.fixture(scope="session")
def wheelhouse(tools_of_the_checkout, tmp_path_factory) -> Path:
    """The wheels of every package, the examples among them."""
    folder = tmp_path_factory.mktemp("wheels") / "dist"
    tools_of_the_checkout.build(folder, *EXAMPLES)
    return folder


@pytest.fixture(scope="session")
def make_environment(tools_of_the_checkout, wheelhouse, tmp_path_factory):
    """Make an environment of wheels of ours, by distribution, and of other packages."""

    def make(*names: str, others: tuple[str, ...] = ()) -> Environment:
        folder = tmp_path_factory.mktemp("environment")
        ours = [next(wheelhouse.glob(f"{name.replace('-', '_')}-*.whl")) for name in names]
        python = tools_of_the_checkout.empty_environment(folder, *ours, *others)
        return Environment(python, wheelhouse)

    return make
