"""The plugin of the how-to, installed as a stranger would: both sides load, refuse, add and answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest

PAGE = "docs/how-to/write-a-plugin.md"
NAME = "oqto-plugin-curfew"


@pytest.fixture(scope="module")
def site(documents, tmp_path_factory):
    """A folder for the import path that holds the plugin and the metadata which an installer writes."""
    folder = tmp_path_factory.mktemp("site")
    files = {
        word.removeprefix("file="): block.body
        for block in documents.blocks()
        if block.page == PAGE
        for word in block.words
        if word.startswith("file=")
    }
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    for name, body in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(body)
    (folder / "oqto_plugin_curfew" / "__init__.py").touch()
    info = folder / f"{NAME.replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head)
    groups = project["entry-points"].items()
    lines = [
        line
        for group, entries in groups
        for line in (f"[{group}]", *(f"{k} = {v}" for k, v in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def run(site, tmp_path):
    def run(*argv: str) -> str:
        env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(site)}
        done = subprocess.run(
            [sys.executable, *argv], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_it_is_listed_on_both_sides(run):
    program = "import sys; sys.argv[1:] = ['--json', 'plugins']; from oqto_platform.cli import main; main()"
    lines = [line for line in json.loads(run("-c", program)) if line["name"] == "curfew"]
    assert {line["side"] for line in lines} == {"core", "runner"}
    assert {line["distribution"] for line in lines} == {NAME}


def test_its_section_and_its_command_are_there(run):
    show = (
        "import sys; sys.argv[1:] = ['--json', 'config', 'show']; from oqto_platform.cli import main; main()"
    )
    assert json.loads(run("-c", show))["values"]["curfew"] == {"begins": 23, "ends": 6}
    for hour, answer in (("3", "refused"), ("12", "allowed"), ("23", "refused"), ("6", "allowed")):
        ask = f"import sys; sys.argv[1:] = ['curfew', 'ask', '{hour}']; from oqto_platform.cli import main; main()"
        assert run("-c", ask).strip() == answer


REFUSES = """
import asyncio, datetime
from oqto_platform import Account, Refusal, Session
from oqto_platform.hooks import Hooks
import oqto_plugin_curfew.core as core

class Night(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 1, 2)

core.datetime = Night
hooks = Hooks.load("core", only=["curfew"])
session = Session(id="ses_x", account_id="acc_x", workspace="/w")
try:
    asyncio.run(hooks.call.session_starting(session, Account(id="acc_x", name="Ada")))
except Refusal as exc:
    print(exc.detail)
"""

SPAWNS = """
import asyncio, sys
from oqto_platform import Session, SpawnPlan
from oqto_platform.hooks import Hooks

hooks = Hooks.load("runner", only=["curfew"])
session = Session(id="ses_x", account_id="acc_x", workspace="/w")
plan = SpawnPlan(argv=("/bin/true",), cwd="/", env={"A": "1"})
print(dict(asyncio.run(hooks.call.spawn(session, plan)).env))
assert "litestar" not in sys.modules
"""


def test_it_refuses_at_night_in_its_own_words(run):
    assert run("-c", REFUSES).strip() == "Good night, Ada. Sessions start again at 6:00."


def test_it_tells_the_agent(run):
    assert run("-c", SPAWNS).strip() == "{'A': '1', 'CURFEW_BEGINS': '23'}"
