"""Templates of plugins: offered by the core, made by the runner, and a name that nobody knows makes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from oqto_platform.testing.kit import Oqto
from oqto_platform.testing.site import Site

pytestmark = pytest.mark.real

OFFERS = """
from oqto_platform import Template, hookimpl

@hookimpl
def list_templates(account):
    return [
        Template(name="report", title="A report", description="For " + account.name),
        Template(name="ghost", title="What nobody makes"),
    ]
"""
MAKES = """
from pathlib import Path
from oqto_platform import Workspace, hookimpl

@hookimpl
def create_workspace(request):
    if request.template != "report":
        return None
    folder = Path(request.path)
    folder.mkdir()
    (folder / "outline.md").write_text("# Report")
    return Workspace(path=request.path, name=folder.name, is_new=True)
"""


class WithFolder(Oqto):
    """Its runner finds plugins in the folder of the test, too, as if they were in its own environment."""

    def _runner_command(self, folder: Path) -> list[str]:
        return [word for word in super()._runner_command(folder) if word != "-I"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    root = tmp_path_factory.mktemp("templates")
    site = Site(root)
    site.install("writer", core=OFFERS, runner=MAKES)
    stack = WithFolder(root, ("writer",), {})
    stack.env |= {"PYTHONPATH": str(site.folder)}
    with stack:
        stack.set_up()
        yield stack


def make(stack, name: str, **fields) -> tuple[int, dict]:
    answer = stack.client.post("/api/workspaces", json={"path": str(stack.root / name), **fields})
    return answer.status_code, answer.json()


def test_what_plugins_offer_is_listed_for_whoever_asks(stack):
    with stack.unsigned_client() as stranger:
        assert stranger.get("/api/workspaces/templates").status_code == 401
    name = stack.client.get("/api/me").json()["name"]
    assert stack.client.get("/api/workspaces/templates").json() == [
        {"name": "report", "title": "A report", "description": f"For {name}", "plugin": "writer"},
        {"name": "ghost", "title": "What nobody makes", "description": "", "plugin": "writer"},
    ]


def test_a_folder_is_made_from_a_template(stack):
    status, made = make(stack, "mine", create=True, template="report")
    assert (status, made["is_new"]) == (201, True)
    assert (stack.root / "mine" / "outline.md").read_text() == "# Report"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"create": True, "template": "repord"}, "template: there is no 'repord'; there are: report, ghost"),
        (
            {"create": True, "template": "ghost"},
            "no plugin of this runner makes a workspace from the template",
        ),
        ({"template": "report"}, "create has to be true"),
    ],
)
def test_a_template_that_cannot_be_used_makes_no_folder(stack, fields, words):
    status, problem = make(stack, "none", **fields)
    assert status == 422
    assert words in problem["detail"]
    assert not (stack.root / "none").exists()
