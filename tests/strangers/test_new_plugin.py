"""From an empty folder and wheels to a plugin that shows a panel and refuses sessions, and away again."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.real

NAMES = ("oqto-platform", "oqto-runner", "oqto-plugin-sandbox")
OTHERS = ("copier", "mypy", "pytest", "ruff", "uv", "uv_build", "websockets")
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "publish-a-plugin.md").read_text()
CHANGES = dict(re.findall(r"^```\w+ change=(\S+)\n(.*)\n```$", PAGE, re.MULTILINE))
"""File to the line of the tutorial that goes in for the one that begins like it."""


@pytest.fixture(scope="module")
def environment(make_environment):
    return make_environment(*NAMES, others=OTHERS)


@pytest.fixture(scope="module")
def project(environment, tmp_path_factory):
    """What the command makes in an empty folder, installed as its author would."""
    folder = tmp_path_factory.mktemp("empty")
    assert "oqtoctl plugins new tide-table\n" in PAGE
    said = environment.run("oqtoctl", "plugins", "new", "tide-table", cwd=folder)
    assert "cd oqto-plugin-tide-table" in said
    made = folder / "oqto-plugin-tide-table"
    assert (made / ".github" / "workflows" / "ci.yml").is_file()
    install(environment, "--editable", f"{made}[dev]", cwd=folder)
    return made


def install(environment, *what, cwd):
    # pip would make an environment for the build, from a network that a test does without.
    options = ("--offline", "--no-build-isolation", "--python", environment.python)
    environment.run("uv", "pip", "install", *options, *what, cwd=cwd)


def change(project):
    assert len(CHANGES) == 2
    for name, new in CHANGES.items():
        file = project / "oqto_plugin_tide_table" / name
        begins = new.partition(" = ")[0]
        lines = file.read_text().splitlines()
        (at,) = (number for number, line in enumerate(lines) if line.startswith(f"{begins} = "))
        assert lines[at] != new
        lines[at] = new
        file.write_text("\n".join(lines) + "\n")


def add_what_the_tutorial_adds(project):
    ((name, anchor, added),) = re.findall(
        r"^```python into=(\S+)\n(.*\n.*)\n((?:.*\n)+?)```$", PAGE, re.MULTILINE
    )
    file = project / "oqto_plugin_tide_table" / name
    text = file.read_text()
    assert text.count(f"{anchor}\n") == 1
    file.write_text(text.replace(f"{anchor}\n", f"{anchor}\n{added}"))
    ((test, body),) = re.findall(r"^```python file=(\S+)\n((?:.*\n)+?)```$", PAGE, re.MULTILINE)
    (project / test).write_text(body)
    return test


def server(environment, root):
    """The server of the environment, with every plugin that is installed there."""
    command = (environment.python, "-m", "oqto_platform.cli.serve", "serve", "--single-user", "--port")
    stack = Stack(root, plugins=())
    stack.command = (*map(str, command), str(stack.port))
    return stack


def test_what_is_made_passes_its_suite_and_its_checks(environment, project):
    for program, *arguments in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        environment.run(program, *arguments, cwd=project)
    said = environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert re.search(r"\d+ passed", said)
    assert "skipped" not in said


def test_two_lines_later_there_are_a_panel_and_a_refusal_and_afterwards_neither(
    environment, project, tmp_path_factory
):
    root = tmp_path_factory.mktemp("s")
    change(project)
    test = add_what_the_tutorial_adds(project)
    environment.run("ruff", "check", ".", cwd=project)
    environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", test, cwd=project)
    with server(environment, root) as stack:
        stack.set_up()
        (panel,) = stack.client.get("/api/plugins/panels").json()
        assert (panel["plugin"], panel["element"]) == ("tide_table", "oqto-tide-table")
        assert "High water at noon." in stack.client.get(panel["module"]).text
        with pytest.raises(RuntimeError, match="We are closed"):
            stack.start_session(harness="echo")
    environment.run(
        "uv", "pip", "uninstall", "--python", environment.python, "oqto-plugin-tide-table", cwd=root
    )
    with server(environment, root) as stack:
        stack.sign_in()
        assert stack.client.get("/api/plugins/panels").json() == []
        assert stack.start_session(harness="echo")["state"] == "running"
    install(environment, "--no-deps", "--editable", project, cwd=root)


def test_without_the_template_engine_it_says_what_to_install(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from oqto_platform.cli.new import new
    from oqto_platform.errors import Invalid

    monkeypatch.setitem(sys.modules, "copier", None)
    result = CliRunner().invoke(new, ["tide", "--into", str(tmp_path)])
    assert isinstance(result.exception, Invalid)
    assert "pip install 'oqto-platform[new]'" in result.exception.detail
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../tide", "small letters"),
        ("Tide", "small letters"),
        ("1tide", "small letters"),
        ("tide--table", "small letters"),
        ("t" * 31, "at most 30"),
        ("auth", "is taken"),
        ("sandbox", "is taken"),
        ("there", "is there already"),
    ],
)
def test_a_name_that_will_not_do_is_refused_before_anything_is_made(name, words, tmp_path):
    from click.testing import CliRunner

    from oqto_platform.cli.new import new
    from oqto_platform.errors import OqtoError

    (tmp_path / "oqto-plugin-there").mkdir()
    result = CliRunner().invoke(new, [name, "--into", str(tmp_path)])
    assert isinstance(result.exception, OqtoError)
    assert words in result.exception.detail
    assert [path.name for path in tmp_path.iterdir()] == ["oqto-plugin-there"]
