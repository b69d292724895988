"""A plugin of the first release keeps working, and one plugin can serve several releases."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import msgspec
import pytest

from oqto_platform import hookspecs
from oqto_platform.hooks import Hooks, hookimpl
from oqto_platform.testing.inspection import Report
from oqto_platform.types import AccountId, Session, SessionId

SESSION = Session(id=SessionId("ses_1"), account_id=AccountId("acc_1"), workspace="/w")


@pytest.fixture(scope="module")
def veteran(pytestconfig, tmp_path_factory):
    """Runs Python with the plugin of the first release installed; a copy, so that nothing is left in the checkout."""
    root = tmp_path_factory.mktemp("veteran")
    shutil.copytree(pytestconfig.rootpath / "tests" / "fixtures" / "first_release", root / "site")

    def run(*argv: str) -> str:
        env = {
            "HOME": str(root),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(root / "site"),
            "OQTO_PLUGINS": "veteran",
            "OQTO__SERVER__ADMIN_SOCKET_PATH": str(root / "no-server.sock"),
        }
        env["PYTHONWARNINGS"] = "error::oqto_platform.hooks.loading.PluginDeprecationWarning"
        done = subprocess.run(
            [sys.executable, *argv],
            env=env,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("side", ["core", "runner"])
def test_the_plugin_of_the_first_release_keeps_the_contract(veteran, side, tmp_path):
    out = veteran("-m", "oqto_platform.testing.inspection", "veteran", side, str(tmp_path))
    report = msgspec.json.decode(out, type=Report)
    report.found.pop("quick", None)  # a matter of the machine
    assert report.found == {}
    assert report.public_routes == (["POST /api/plugins/veteran/hook"] if side == "core" else [])


def test_the_plugin_of_the_first_release_would_start(veteran):
    program = "import sys; sys.argv[1:] = ['plugins', 'check', 'veteran']; from oqto_platform.cli import main; main()"
    assert "nothing hinders a start" in veteran("-c", program)


async def test_a_new_argument_does_not_concern_an_old_implementation(monkeypatch):
    def session_started(session: Session, weather: str) -> None:
        """As a later release may have it."""

    for mark in ("policy", "oqto_spec"):
        setattr(session_started, mark, getattr(hookspecs.session_started, mark))
    monkeypatch.setattr(hookspecs, "session_started", session_started)
    told = []
    hooks = Hooks("core")
    hooks.register(SimpleNamespace(session_started=hookimpl(lambda session: told.append(session.id))), "old")
    hooks.register(SimpleNamespace(session_started=hookimpl(lambda weather: told.append(weather))), "new")
    await hooks.checked().run("session_started", session=SESSION, weather="sunny")
    assert told == ["sunny", "ses_1"]


async def test_a_hook_of_a_later_release_waits_for_it(monkeypatch):
    told = []
    plugin = SimpleNamespace(sunrise=hookimpl(optionalhook=True)(lambda session: told.append(session.id)))
    before = Hooks("core")
    before.register(plugin, "early")
    assert before.checked().plugins()[0].hooks == ()

    def sunrise(session: Session) -> None:
        """A hook of the next release."""

    for mark in ("policy", "oqto_spec"):
        setattr(sunrise, mark, getattr(hookspecs.session_started, mark))
    monkeypatch.setattr(hookspecs, "sunrise", sunrise, raising=False)
    after = Hooks("core")
    after.register(plugin, "early")
    await after.checked().run("sunrise", session=SESSION)
    assert told == ["ses_1"]
