"""Each example as a stranger would have it: from its wheel, beside the wheels of Oqto, tested by its own tests."""

from __future__ import annotations

import ast
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


def test_an_agent_needs_no_more_than_sixty_lines():
    source = (ROOT / "examples" / "oqto-plugin-parrot" / "oqto_plugin_parrot" / "harness.py").read_text()
    prose = [
        n
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.Import | ast.ImportFrom) or is_docstring(n)
    ]
    skipped = {line for node in prose for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    code = [line for n, line in enumerate(source.splitlines(), 1) if line.strip() and n not in skipped]
    assert len(code) <= 60


def is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
