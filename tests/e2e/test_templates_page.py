"""A folder made from what a plugin offers."""

from __future__ import annotations

import re

import pytest

from oqto_platform.testing.site import Site
from oqto_platform.testing.stack import Stack

pytestmark = pytest.mark.e2e

OFFERS = """
from oqto_platform import Template, hookimpl

@hookimpl
def list_templates(account):
    return [Template(name="report", title="A report", description="A folder with an outline in it.")]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory, chromium):
    root = tmp_path_factory.mktemp("server")
    site = Site(root)
    site.install("writer", core=OFFERS)
    with Stack(root, plugins=("writer", "eavs", "sandbox"), env={"PYTHONPATH": str(site.folder)}) as shared:
        shared.set_up()
        yield shared


def test_a_template_is_chosen_in_the_folder_picker(server, open_signed_in, do):
    page = open_signed_in("#/", do.phone)
    page.get_by_role("button", name=re.compile("demo")).first.click()
    page.get_by_role("button", name="New folder", exact=True).click()
    page.get_by_label("Name of the new folder").fill("mine")
    page.get_by_label("Begin with").select_option("A report")
    page.get_by_text("A folder with an outline in it.").wait_for()
    assert do.faults(page) == []
    do.shot(page, "template")
    page.get_by_role("button", name="Create").click()
    # The runner of this server does not have the plugin: it says so at the field, and makes no plain folder.
    page.get_by_text("no plugin of this runner makes a workspace from the template 'report'").wait_for()
    page.get_by_label("Begin with").select_option("An empty folder")
    page.get_by_role("button", name="Create").click()
    page.get_by_text("No folders in here").wait_for()
