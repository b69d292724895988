"""Bad plugins that a start finds: the message names plugin, version, what is wrong and how to go on."""

from __future__ import annotations

import re

import pytest

from oqto_platform.testing.site import Site

TABLES = """
from pathlib import Path
from sqlmodel import Field, SQLModel
from oqto_platform import Tables, hookimpl

class Thief(SQLModel, table=True):
    __tablename__ = "account_{name}"
    id: str = Field(primary_key=True)

@hookimpl
def register_tables():
    return Tables(models=(Thief,), migrations=Path(__file__).parent)
"""

JOBS = """
from oqto_platform import Job, hookimpl

async def work(): ...

@hookimpl
def register_jobs(context):
    return [Job(name="sync", every_s=1, run=work), Job(name="sync", every_s=2, run=work)]
"""

ROUTES = """
from litestar import get
from oqto_platform import hookimpl

@get("/same")
async def one() -> str: return "1"

@get("/same")
async def two() -> str: return "2"

@hookimpl
def register_routes(context):
    return [one, two]
"""

PANELS = """
from oqto_platform import Panel, hookimpl

@hookimpl
def register_panels():
    return [Panel(element="oqto-eavs-usage", module="panel.js", place="account", title="Not mine")]
"""

SECTION = """
from oqto_platform import Section, hookimpl

class Mine(Section, frozen=True): ...

@hookimpl
def register_config(): return Mine
"""

HARNESS = """
from types import SimpleNamespace
from oqto_platform import hookimpl

@hookimpl
def register_harnesses(): return [SimpleNamespace(name="echo")]
"""


def impl(signature: str, body: str = "return None", marks: str = "") -> str:
    return f"from oqto_platform import hookimpl\n\n@hookimpl{marks}\n{signature}:\n    {body}\n"


BAD = {
    # name: (side, source, what the message says)
    "imports": ("core", "import numpy_of_the_moon", "cannot be imported: ModuleNotFoundError: No module named 'numpy_of_the_moon'"),
    "syntax": ("core", "def (", "cannot be imported: SyntaxError"),
    "exits": ("core", "import sys; sys.exit('no licence')", "cannot be imported: SystemExit: no licence"),
    "signature": ("core", impl("def session_started(sesion)"), "session_started has no argument 'sesion'; did you mean 'session'? It has: session"),
    "unknown": ("core", impl("def brew_coffee()"), "brew_coffee is no hook of this version; docs/reference/hooks.md lists what there is"),
    "misspelt": ("core", impl("def sesion_started(session)"), "sesion_started is no hook of this version; did you mean session_started?"),
    "wrapper": ("core", impl("def session_started()", "yield", "(wrapper=True)"), "session_started is awaited, so a wrapper cannot surround it; remove wrapper=True"),
    "yields": ("core", impl("def session_started()", "yield"), "session_started is to answer, not to yield"),
    "late": ("core", impl("async def register_panels()", "return []"), "register_panels is called once at load; make it a plain def"),
    "wrongside": ("core", impl("def confine(session, plan)"), "confine is a hook of the runner side; move it to the entry-point group oqto.runner"),
    "raises": ("core", impl("def register_jobs(context)", "1 / 0"), "failed in register_jobs: ZeroDivisionError: division by zero"),
    "answers": ("core", impl("def register_jobs(context)", "return [7]"), "expected Sequence\\[Job"),
    "tables": ("core", TABLES, "the table 'account_tables' is not its own; name it tables_account_tables"),
    "jobs": ("core", JOBS, "two jobs are called 'sync'; give one another name"),
    "routes": ("core", ROUTES, "its routes cannot be mounted|two handlers have the route"),
    "panels": ("core", PANELS, "panel 'oqto-eavs-usage': the element is to be called oqto-panels"),
    "sessions": ("core", SECTION, r"\[sessions\] is a section of the core; give the entry point another name"),
    "status": ("core", impl("def register_commands(group)"), "oqtoctl status is the core's; give the entry point another name"),
    "harness": ("runner", HARNESS, "its harness 'echo' has the name of one of the plugin 'builtin'"),
}  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What `oqtoctl plugins check` says when all of them are installed together: by plugin."""
    site = Site(tmp_path_factory.mktemp("bad"))
    for name, (side, source, _) in BAD.items():
        site.install(name, **{side: source.replace("{name}", name)})
    done = site.oqtoctl("plugins", "check", OQTO_PLUGINS=",".join(BAD))
    assert done.returncode == 1, done.stdout
    lines = done.stderr.splitlines()
    return {name: [line for line in lines if line.startswith(f"plugin {name!r}")] for name in BAD}


@pytest.mark.parametrize("name", BAD)
def test_it_is_named_with_version_cause_and_repair(said, name):
    (line,) = said[name]
    assert line.startswith(f"plugin {name!r} (oqto-plugin-{name} 2.7.1): ")
    assert re.search(BAD[name][2].replace("(", r"\(").replace("?", r"\?"), line), line
    assert line.endswith(f"To start without it: oqtoctl plugins disable {name}")


def test_one_that_needs_a_newer_platform_says_so_where_it_fails(tmp_path):
    site = Site(tmp_path)
    site.install(
        "future",
        core="from oqto_platform import Hologram",
        requires="oqto-platform (>=7.3,<8) ; python_version > '3'",
    )
    done = site.oqtoctl("plugins", "check", OQTO_PLUGINS="future")
    assert done.returncode == 1
    assert "plugin 'future' (oqto-plugin-future 2.7.1): cannot be imported: ImportError" in done.stderr
    assert "It asks for oqto-platform (>=7.3,<8)" in done.stderr
    assert "upgrade oqto-platform, or install an older oqto-plugin-future" in done.stderr


def test_its_broken_commands_are_one_sentence(tmp_path):
    site = Site(tmp_path)
    site.install("weather", core="import numpy_of_the_moon")
    done = site.oqtoctl("weather", "today")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "oqtoctl: plugin 'weather' (oqto-plugin-weather 2.7.1): its commands cannot be had: ModuleNotFoundError"
    )


def test_one_for_two_versions_of_the_platform_loads_on_both(tmp_path):
    site = Site(tmp_path)
    site.install("both", core=impl("def hook_of_the_future(anything)", marks="(optionalhook=True)"))
    assert site.oqtoctl("plugins", "check", OQTO_PLUGINS="both").returncode == 0


def test_two_that_would_both_hold_the_money_are_named(tmp_path):
    site = Site(tmp_path)
    for name in ("purse", "wallet"):
        site.install(name, core=impl("def budget_settle(session, reservation_id)"))
    done = site.oqtoctl("plugins", "check", OQTO_PLUGINS="purse,wallet")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        (
            "plugin 'wallet' (oqto-plugin-wallet 2.7.1): plugin 'purse' (oqto-plugin-purse 2.7.1) answers budget_settle, too, "
            "and only one plugin may; disable one of the two. To start without it: oqtoctl plugins disable wallet"
        )
    ]


def test_two_of_one_name_are_named(tmp_path):
    site = Site(tmp_path)
    site.install("weather", core=impl("def session_started(session)"))
    site.install(
        "weather", core=impl("def session_started(session)"), distribution="oqto-plugin-other-weather"
    )
    done = site.oqtoctl("plugins", "check", OQTO_PLUGINS="weather")
    assert done.returncode == 1
    assert re.search(
        r"plugin 'weather' \(oqto-plugin-\S*weather 2.7.1\) has this name, too; uninstall one", done.stderr
    )


def test_one_that_is_switched_off_hinders_nothing_and_neither_does_its_section(tmp_path):
    site = Site(tmp_path)
    site.install("weather", core="import numpy_of_the_moon")
    config = tmp_path / "config.toml"
    config.write_text('[weather]\ncity = "Oslo"\n\n[weather.more]\nx = 1\n')
    settings = {"OQTO_CONFIG": str(config), "OQTO_PLUGINS": "weather"}
    assert "cannot be imported" in site.oqtoctl("plugins", "check", **settings).stderr
    assert site.oqtoctl("plugins", "disable", "weather", **settings).returncode == 0
    done = site.oqtoctl("plugins", "check", **settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "city" in config.read_text()
