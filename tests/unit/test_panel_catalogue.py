"""Which panels are accepted at the start, and who sees which."""

from __future__ import annotations

import sys
import textwrap

import pytest

from oqto_platform.errors import NotFound, PluginLoadError
from oqto_platform.hooks import Hooks
from oqto_platform.hooks.loading import _everything
from oqto_platform.panels.catalogue import Catalogue
from oqto_platform.types import Identity

ADMIN = Identity(account_id="acc_a", name="ada", role="admin")
USER = Identity(account_id="acc_b", name="bob", role="user")


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    """The catalogue of plugins that are installed as `name={element: fields of Panel}`."""

    def of(**plugins: dict[str, str]) -> Catalogue:
        for name, panels in plugins.items():
            install(tmp_path, name, panels)
            for module in (f"panels_of_{name}", f"panels_of_{name}.core"):
                monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))
        _everything.cache_clear()
        return Catalogue.of(Hooks.load("core", only=plugins))

    yield of
    monkeypatch.undo()
    _everything.cache_clear()


def install(site, name, panels):
    package = site / f"panels_of_{name}"
    (package / "static").mkdir(parents=True)
    (package / "static" / "panel.js").touch()
    (package / "static" / "out.js").symlink_to("/etc/hostname")
    (package / "__init__.py").touch()
    listed = ", ".join(f"Panel(element={element!r}, title='T', {rest})" for element, rest in panels.items())
    (package / "core.py").write_text(
        textwrap.dedent(f"""
        from oqto_platform import Panel, hookimpl

        @hookimpl
        def register_panels():
            return [{listed}]
        """)
    )
    info = site / f"panels_of_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: panels-of-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[oqto.core]\n{name} = panels_of_{name}.core\n")


GOOD = "module='panel.js', place='session'"


def elements(catalogue, identity):
    return [shown.panel.element for shown in catalogue.for_(identity)]


def test_people_see_what_is_for_their_role(catalogue):
    found = catalogue(
        fine_one={
            "oqto-fine-one": GOOD,
            "oqto-fine-one-more": "module='panel.js', place='account', roles=('user',)",
            "oqto-fine-one-staff": "module='panel.js', place='admin'",
        }
    )
    assert elements(found, ADMIN) == ["oqto-fine-one", "oqto-fine-one-staff"]
    assert elements(found, USER) == ["oqto-fine-one", "oqto-fine-one-more"]
    assert found.find("fine_one", "oqto-fine-one", USER).panel.title == "T"
    with pytest.raises(NotFound):
        found.find("fine_one", "oqto-fine-one-staff", USER)


@pytest.mark.parametrize(
    ("element", "rest", "words"),
    [
        ("oqto-other", GOOD, "the element is to be called oqto-wrong or oqto-wrong-…"),
        ("oqto-wrong-<b>", GOOD, "the element is to be called oqto-wrong or oqto-wrong-…"),
        ("oqto-wrongly", GOOD, "the element is to be called oqto-wrong or oqto-wrong-…"),
        ("oqto-wrong", "module='other.js', place='session'", "there is no file static/other.js"),
        ("oqto-wrong", "module='../core.py', place='session'", "static/../core.py lies outside"),
        ("oqto-wrong", "module='out.js', place='session'", "static/out.js lies outside"),
        ("oqto-wrong", "module='panel.js', place='tool'", "place='tool' and tools=(…)"),
        ("oqto-wrong", "module='panel.js', place='session', tools=('bash',)", "place='tool' and tools=(…)"),
    ],
)
def test_a_panel_that_cannot_work_stops_the_start_and_says_why(catalogue, element, rest, words):
    with pytest.raises(PluginLoadError) as caught:
        catalogue(wrong={element: rest})
    assert words in caught.value.detail
    assert "oqtoctl plugins disable wrong" in caught.value.detail


def test_two_plugins_cannot_have_one_element(catalogue):
    with pytest.raises(PluginLoadError, match="has an element of this name already"):
        catalogue(a={"oqto-a-b": GOOD}, a_b={"oqto-a-b": GOOD})
