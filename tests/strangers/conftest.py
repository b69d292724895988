"""What a stranger has: wheels, and an environment in which nothing of this checkout is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import shop

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


class Terminal:
    """A shell in an empty folder with `python3`, and a pip that finds wheels in one folder and nothing anywhere else."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        programs = folder / ".programs"
        programs.mkdir()
        (programs / "python3").symlink_to(sys._base_executable)
        ours = str(Path(sys.executable).parent)
        path = [str(programs), *(part for part in os.environ["PATH"].split(os.pathsep) if part != ours)]
        kept = {
            name: os.environ[name] for name in ("LANG", "TMPDIR", "OQTO_TEST_PROCESS") if name in os.environ
        }
        pip = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_COMPILE": "1",
        }
        self.env = {
            **kept,
            **pip,
            "HOME": str(folder),
            "PATH": os.pathsep.join(path),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def types(self, *commands: str, answers: str = "") -> str:
        """Type `commands`, one line after the other, as far as the first that fails; what they say."""
        done = subprocess.run(
            ["bash", "-e", "-c", "\n".join(commands)], cwd=self.folder, env=self.env, input=answers,
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{commands}: exit {done.returncode}\n{said[-6000:]}"
        return said


@pytest.fixture(scope="session")
def shelf(wheelhouse, tmp_path_factory) -> Path:
    """A folder with the wheels of our packages and of everything that they and an author need."""
    folder = tmp_path_factory.mktemp("shelf")
    for wheel in wheelhouse.glob("oqto_*.whl"):
        shutil.copy(wheel, folder)
    members = ("oqto-runner", "oqto-plugin-eavs", "oqto-plugin-sandbox")
    shop.fill(folder, ["oqto-platform[new,testing]", *members, "mypy", "pytest", "ruff", "uv_build"])
    return folder


@pytest.fixture(scope="module")
def terminal(shelf, tmp_path_factory) -> Terminal:
    """Somebody's terminal in an empty folder."""
    return Terminal(tmp_path_factory.mktemp("empty"), shelf)


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
