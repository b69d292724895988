"""From an empty folder and wheels to a plugin that shows a panel and refuses sessions, and away again."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from oqto_platform.testing.stack import Stack, free_port

pytestmark = pytest.mark.real

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "publish-a-plugin.md").read_text()
CHANGES = dict(re.findall(r"^```\w+ change=(\S+)\n(.*)\n```$", PAGE, re.MULTILINE))
"""File to the line of the tutorial that goes in for the one that begins like it."""

ENTER = (". oqto/bin/activate", "cd oqto-plugin-tide-table")


def typed(heading: str) -> str:
    """What the tutorial has its reader type below a heading."""
    part = PAGE.split(f". {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)[0]


@pytest.fixture(scope="module")
def project(terminal):
    """Steps 1 and 2, as they stand on the page."""
    said = terminal.types(typed("An environment"), typed("A package"))
    assert "cd oqto-plugin-tide-table" in said
    made = terminal.folder / "oqto-plugin-tide-table"
    assert (made / ".github" / "workflows" / "ci.yml").is_file()
    return made


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


def server(terminal, root):
    """The server of the environment, with every plugin that is installed there."""
    python = terminal.folder / "oqto" / "bin" / "python"
    command = (python, "-m", "oqto_platform.cli.serve", "serve", "--single-user", "--port")
    stack = Stack(root, plugins=(), **{"eavs.base_url": f"http://127.0.0.1:{free_port()}"})
    stack.command = (*map(str, command), str(stack.port))
    return stack


def test_what_is_made_passes_its_suite_and_its_checks(terminal, project):
    said = terminal.types(*ENTER, typed("Its tests"))
    assert re.search(r"\d+ passed", said)
    assert "skipped" not in said
    terminal.types(*ENTER, "ruff check .", "ruff format --check .", "mypy")


def test_two_lines_later_there_are_a_panel_and_a_refusal_and_afterwards_neither(
    terminal, project, tmp_path_factory
):
    root = tmp_path_factory.mktemp("s")
    change(project)
    test = add_what_the_tutorial_adds(project)
    terminal.types(*ENTER, "ruff check .", f"pytest {test}")
    with server(terminal, root) as stack:
        stack.set_up()
        (panel,) = (
            one for one in stack.client.get("/api/plugins/panels").json() if one["plugin"] == "tide_table"
        )
        assert panel["element"] == "oqto-tide-table"
        assert "High water at noon." in stack.client.get(panel["module"]).text
        with pytest.raises(RuntimeError, match="We are closed"):
            stack.start_session(harness="echo")
    said = terminal.types(ENTER[0], typed("Take it away"), answers="y\n")
    assert "Successfully uninstalled oqto-plugin-tide-table" in said
    with server(terminal, root) as stack:
        stack.sign_in()
        assert "tide_table" not in {one["plugin"] for one in stack.client.get("/api/plugins/panels").json()}
        assert stack.start_session(harness="echo")["state"] == "running"


def test_the_package_that_is_published_has_everything_in_it(terminal, project):
    """An editable installation would hide what the wheel lacks."""
    terminal.types(
        *ENTER,
        "pip wheel --no-deps --wheel-dir dist .",
        "pip install dist/*.whl",
        "rm -r oqto_plugin_tide_table",
    )
    said = terminal.types(*ENTER, "oqtoctl plugins show tide_table", "oqtoctl plugins check tide_table")
    for line in ("panels     oqto-tide-table", "tables     tide_table_", "GET /api/plugins/tide_table"):
        assert line in said
    inside = terminal.types(*ENTER, "python -m zipfile --list dist/*.whl")
    for file in ("static/panel.js", "migrations/0001_initial.py", "py.typed"):
        assert f"oqto_plugin_tide_table/{file} " in inside


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
