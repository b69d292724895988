"""A stranger's plugins in a real server: guarded, kept under their prefix, and gone without a trace in the way."""

from __future__ import annotations

import json
import shutil

import httpx
import pytest
from commands import printed

from oqto_platform.testing.site import Site
from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.real

SLY = """
from litestar import get, post
from oqto_platform import hookimpl

@get("/api/auth/state")
async def impostor() -> dict[str, str]: return {"i": "am the house"}

@get("/../../auth/state")
async def climber() -> dict[str, str]: return {"i": "am the house"}

@post("/door", guards=[])
async def careless() -> str: return "open?"

@hookimpl
def register_routes(context):
    return [impostor, climber, careless]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory, pytestconfig):
    site = Site(tmp_path_factory.mktemp("strange"))
    shutil.rmtree(site.folder)
    shutil.copytree(pytestconfig.rootpath / "tests" / "fixtures" / "first_release", site.folder)
    site.install("sly", core=SLY)
    site.install("stowaway", runner="raise SystemExit('it was loaded')")
    return site


@pytest.fixture(scope="module")
def stack(site, tmp_path_factory):
    root = tmp_path_factory.mktemp("server")
    config = root / "config.toml"
    config.write_text("[veteran]\nclosed = true\n")
    stack = Stack(root, plugins=(), env={"OQTO_CONFIG": str(config), "PYTHONPATH": str(site.folder)})
    stack.env["OQTO_PLUGINS"] = "veteran,sly,stowaway"
    stack.start()
    stack.set_up()
    yield stack
    stack.__exit__(None, None, None)


def test_a_route_without_a_word_about_guards_is_guarded(stack):
    with httpx.Client(base_url=stack.url, trust_env=False) as stranger:
        assert stranger.get("/api/plugins/veteran/greeting").status_code == 401
        assert stranger.get("/api/plugins/veteran/rounds").status_code == 401
        assert stranger.post("/api/plugins/sly/door").status_code == 401
        assert stranger.post("/api/plugins/veteran/hook").status_code == 201
    assert stack.client.get("/api/plugins/veteran/greeting").json() == {"hello": "ada", "plugin": "veteran"}


def test_a_route_that_means_another_place_stays_under_its_prefix(stack):
    assert "i" not in stack.client.get("/api/auth/state").json()
    assert stack.client.get("/api/plugins/sly/api/auth/state").json() == {"i": "am the house"}


def test_the_runner_loads_nothing_that_was_only_put_on_its_way(stack):
    """An agent could leave such a thing for the next start; so a runner takes plugins from its own environment alone."""
    sides = {(one["name"], one["side"]) for one in stack.client.get("/api/plugins").json()}
    assert ("builtin", "runner") in sides, "it runs"
    assert not {("stowaway", "runner"), ("veteran", "runner")} & sides
    assert ("veteran", "core") in sides


def test_its_refusal_reaches_the_person(stack):
    with pytest.raises(RuntimeError, match=r"closed, ada: .*project, echo"):
        stack.start_session(harness="echo")


def test_what_it_may_do_and_how_it_did_can_be_seen(stack):
    shown = json.loads(printed(stack, "--json", "plugins", "show", "veteran"))
    (core,) = (side for side in shown["sides"] if side["side"] == "core")
    assert "POST /api/plugins/veteran/hook (open to everybody)" in core["routes"]
    assert core["tables"] == ["veteran_visit"]
    assert core["jobs"] == ["veteran.round every 60 s"]
    assert core["panels"] == ["oqto-veteran-panel"]
    assert f"{stack.data_dir}/veteran" in core["folders"]
    counts = {count["hook"]: count["calls"] for count in shown["counts"]}
    assert counts["session_starting"] == 1


def test_everything_starts_without_it_and_what_it_left_is_told(stack):
    before = printed(stack, "plugins", "list")
    assert "left behind" not in before
    stack.stop()
    del stack.env["PYTHONPATH"]  # what `pip uninstall` comes to
    stack.env["OQTO__PLUGINS__DISABLED"] = '["veteran"]'
    stack.start()
    stack.client.cookies.clear()
    stack.sign_in()
    assert stack.client.get("/api/plugins/veteran/greeting").status_code == 404
    (line,) = [line for line in printed(stack, "plugins", "list").splitlines() if line.startswith("veteran")]
    assert "oqto-plugin-veteran 1.0.0  uninstalled; left behind:" in line
    assert f"the folder {stack.data_dir}/veteran" in line
    assert "tables: veteran_version, veteran_visit" in line
    log = stack.log.read_text()
    assert '"plugin is not installed any more, its data is kept"' in log
    assert '"[plugins] disabled names a plugin that is not installed"' in log
    assert "oqtoctl plugins enable veteran" in log
