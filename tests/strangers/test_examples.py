"""Each example as a stranger would have it: from its wheel, beside the wheels of Oqto, tested by its own tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(folder.name for folder in (ROOT / "examples").iterdir() if folder.is_dir())


@pytest.fixture(scope="module")
def environment(make_environment):
    names = ("oqto-platform", "oqto-runner", "oqto-plugin-sandbox")
    return make_environment(*names, *EXAMPLES, others=("pytest", "pytest-asyncio", "websockets"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_passes_its_own_tests(environment, name, tmp_path):
    shutil.copytree(ROOT / "examples" / name / "tests", tmp_path / "tests")
    shutil.copy(ROOT / "examples" / name / "pyproject.toml", tmp_path)
    said = environment.run("python", "-m", "pytest", "-q", "-W", "error", tmp_path, cwd=tmp_path)
    assert " passed" in said
    assert "skipped" not in said


def test_every_example_has_a_readme_and_hello_is_twenty_lines():
    assert all((ROOT / "examples" / name / "README.md").is_file() for name in EXAMPLES)
    sources = (ROOT / "examples" / "oqto-plugin-hello" / "oqto_plugin_hello").glob("*.py")
    lines = [line for file in sources for line in file.read_text().splitlines() if line.strip()]
    assert len(lines) <= 20
