"""The contract suite sees what is wrong: a plugin that breaks every rule, and one that keeps them all."""

from __future__ import annotations

import msgspec
import pytest

from oqto_platform.testing.inspection import Report
from oqto_platform.testing.site import Site

CORE = """
import asyncio, os, threading, time
from pathlib import Path
from typing import Annotated, Sequence

from litestar import get, post
from sqlmodel import Field, SQLModel

from oqto_platform import Check, Panel, Section, Settlement, Tables, hookimpl

for _ in range(8_000_000): pass  # slow to load

class Awful(Section, frozen=True, forbid_unknown_fields=False):
    undescribed: int = 1

class Row(SQLModel, table=True):
    __tablename__ = "awful_row"
    id: str = Field(primary_key=True)
    forgotten: str = ""

@hookimpl
def register_config(): return Awful

@hookimpl
def register_tables(): return Tables(models=(Row,), migrations=Path(__file__).parent / "versions")

@hookimpl
def register_routes(context):
    @get("/open", opt={"public": True})
    async def opened() -> str: return "to everybody"
    return [opened]

@hookimpl
def register_panels():
    return [Panel(element="oqto-awful-panel", module="panel.js", place="account", title="Awful")]

_kept = []

@hookimpl
async def startup(context):
    _kept.append(asyncio.create_task(asyncio.sleep(3600), name="awful-task"))
    threading.Thread(target=time.sleep, args=(2,), name="awful-thread", daemon=True).start()
    _kept.append(open("left.txt", "w"))
    os.environ["AWFUL"] = "1"

@hookimpl
async def health() -> Sequence[Check]:
    time.sleep(0.08)
    return []

@hookimpl
def session_stopped(session):
    if session.id == "ses_unknown":
        raise KeyError(session.id)

@hookimpl
def budget_settle(session):
    _kept.append(1)
    return Settlement(spent_nusd=len(_kept))
"""

VERSION = """
from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "awful0001", None, None, None

def upgrade():
    op.create_table("awful_row", sa.Column("id", sa.String(), primary_key=True))
    op.create_table("somebody_elses", sa.Column("id", sa.String(), primary_key=True))
"""

RUNNER = """
import msgspec
from oqto_platform import ConfinedPlan, hookimpl

@hookimpl
def session_started(session):
    import httpx

@hookimpl
def spawn(session, plan):
    plan.env["NEW"] = "1"
    return msgspec.structs.replace(plan, env={"ONLY": "mine"}, writable=())

@hookimpl
def confine(session, plan):
    return ConfinedPlan(argv=plan.argv, cwd="/", confined_by="")
"""


@pytest.fixture(scope="module")
def inspect(tmp_path_factory):
    def run(site: Site, side: str) -> Report:
        root = tmp_path_factory.mktemp(side)
        done = site.run("-m", "oqto_platform.testing.inspection", "awful", side, str(root))
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout, type=Report)

    return run


@pytest.fixture(scope="module")
def awful(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("awful"))
    site.install("awful", core=CORE, runner=RUNNER)
    package = site.folder / "oqto_plugin_awful"
    for folder in ("versions", "static"):
        (package / folder).mkdir()
    (package / "versions" / "0001_initial.py").write_text(VERSION)
    (package / "static" / "panel.js").write_text(
        "customElements.define('another-name', class extends HTMLElement {})"
    )
    return site


@pytest.fixture(scope="module")
def core(awful, inspect):
    return inspect(awful, "core")


@pytest.fixture(scope="module")
def runner(awful, inspect):
    return inspect(awful, "runner")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("quick", "importing the core side takes"),
        ("section", "the key awful.undescribed has no description"),
        ("section", "[awful] takes unknown keys"),
        ("tables", "a migration makes the table 'somebody_elses'; name it awful_somebody_elses"),
        ("tables", "models and migrations differ"),
        ("panels", "panel.js does not define <oqto-awful-panel>"),
        ("life", "session_stopped: KeyError: 'ses_unknown'"),
        ("repetition", "budget_settle answers"),
        ("leftovers", "leaves the task awful-task"),
        ("leftovers", "leaves the thread awful-thread"),
        ("leftovers", "left.txt"),
        ("leftovers", "leaves the variable AWFUL=1"),
        ("leftovers", "leaves left.txt in cwd; write to context.data_dir or state_dir"),
    ],
)
def test_each_broken_rule_of_the_core_is_named(core, rule, words):
    assert any(words in sentence for sentence in core.found[rule]), core.found


def test_what_blocks_is_named(core):
    assert core.blocking["health"] >= 0.08


def test_routes_that_are_open_are_told(core):
    assert core.public_routes == ["GET /api/plugins/awful/open"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("light", "the runner's side loads httpx"),
        ("plan", "spawn drops or changes the variables HOME, OQTO_CONTRACT, PATH"),
        ("plan", "spawn drops writable"),
        ("plan", "confine starts in /, not in the plan's"),
        ("plan", "confine does not say by what it confines"),
        ("mutation", "spawn changes what it is given"),
    ],
)
def test_each_broken_rule_of_the_runner_is_named(runner, rule, words):
    assert any(words in sentence for sentence in runner.found[rule]), runner.found


GOOD = """
from collections.abc import Sequence
from typing import Annotated, Any
from oqto_platform import Check, Job, Section, hookimpl, key

class Awful(Section, frozen=True):
    city: Annotated[str, key("Where it is.")] = "Oslo"

@hookimpl
def register_config(): return Awful

@hookimpl
def register_routes(context):
    from litestar import get

    @get("/now", opt={"admin": True})
    async def now() -> str: return context.settings().city
    return [now]

@hookimpl
async def startup(context):
    (context.data_dir / "kept.txt").write_text("fine")

@hookimpl
def health() -> Sequence[Check]: return [Check(name="weather", ok=True)]
"""


def test_one_that_keeps_the_rules_is_left_alone(tmp_path, inspect):
    site = Site(tmp_path)
    site.install("awful", core=GOOD)
    report = inspect(site, "core")
    assert (report.found, report.blocking, report.public_routes) == ({}, {}, [])


def test_one_that_cannot_be_loaded_says_why(tmp_path, inspect):
    site = Site(tmp_path)
    site.install("awful", core="import numpy_of_the_moon")
    (sentence,) = inspect(site, "core").found["loads"]
    assert "plugin 'awful' (oqto-plugin-awful 2.7.1): cannot be imported" in sentence


def test_there_is_a_sample_for_every_argument_of_every_hook(tmp_path):
    from oqto_platform import config, hookspecs
    from oqto_platform.hooks.spec import Mode, arguments_of, policies_of
    from oqto_platform.testing.inspection import samples

    known = {*samples.arguments(tmp_path, config.load(None, {"HOME": str(tmp_path)})), "context"}
    for name, policy in policies_of(hookspecs).items():
        if policy.mode is not Mode.REGISTER:
            assert set(arguments_of(getattr(hookspecs, name))) <= known, name
