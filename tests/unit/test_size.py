"""Heavy libraries stay out of the programs that must be small or quick. No times: `bench/` measures those."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

WEB_STACK = {"litestar", "granian", "sqlmodel", "sqlalchemy", "pydantic", "httpx"}
OF_NO_USE = {"rich", "pygments", "greenlet", "cryptography", "advanced_alchemy"}


def loaded(program: str) -> set[str]:
    """The modules that are loaded when `program` is through."""
    whole = (
        f"{program}\nimport sys as _sys, json as _json\n_sys.stderr.write(_json.dumps(sorted(_sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True, cwd="/")
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_the_package_alone_loads_nothing():
    assert not loaded("import oqto_platform") & {"msgspec", "structlog", "pluggy", *WEB_STACK}


def test_what_plugins_import_loads_no_web_stack():
    modules = loaded("from oqto_platform import Section, SpawnPlan, hookimpl, key")
    assert not modules & WEB_STACK


def test_the_package_offers_all_that_it_names():
    import oqto_platform

    for name in oqto_platform.__all__:
        assert getattr(oqto_platform, name).__module__ != "", name
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = oqto_platform.nothing_like_this
    assert set(oqto_platform.__all__) <= set(dir(oqto_platform))


def test_the_help_of_oqtoctl_loads_click_and_little_else():
    run = (
        "import sys; sys.argv = ['oqtoctl', '--help']\n"
        "from oqto_platform.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code"
    )
    modules = loaded(run)
    assert "click" in modules
    assert not modules & (WEB_STACK | OF_NO_USE | {"msgspec", "structlog", "pluggy", "importlib.metadata"})


def test_the_help_names_the_plugins_that_are_installed():
    from importlib.metadata import entry_points

    from oqto_platform.cli import plugin_names

    assert plugin_names() == sorted({entry.name for entry in entry_points(group="oqto.core")})


def test_the_runner_with_its_plugins_loads_no_web_stack():
    run = (
        "import oqto_runner.__main__, oqto_runner.daemon\n"
        "from oqto_platform.hooks import Hooks\n"
        "hooks = Hooks.load('runner', builtins={}, disabled=(), only=())\n"
        "hooks.register_all('register_config'); hooks.register_all('register_harnesses')"
    )
    assert not loaded(run) & (WEB_STACK | OF_NO_USE | {"typing_extensions", "ssl", "_ssl", "_hashlib"})


def test_the_loop_of_the_runner_says_that_it_has_no_tls_and_plugins_can_still_have_it():
    run = (
        "import oqto_runner.__main__, uvloop, ssl, asyncio\n"
        "context = ssl.create_default_context()\n"
        "async def dial(how):\n"
        "    try: await asyncio.open_connection('127.0.0.1', 9, ssl=how, server_hostname='localhost')\n"
        "    except RuntimeError as exc: assert 'without ssl for its event loop; use httpx' in str(exc)\n"
        "    else: raise AssertionError\n"
        "for how in (True, context): uvloop.run(dial(how))"
    )
    assert "_ssl" in loaded(run)


def test_the_core_loads_its_libraries_without_companions(tmp_path):
    run = (
        f"import os; os.environ.clear(); os.environ.update(HOME={str(tmp_path)!r}, OQTO_PLUGINS='eavs')\n"
        "import oqto_platform.app"
    )
    modules = loaded(run)
    assert "litestar" in modules
    assert not modules & (OF_NO_USE | {"pydantic.v1", "httpx", "alembic", "yaml", "tomlkit"})


def test_the_core_loads_nothing_of_a_terminal_of_html_or_of_openapi(tmp_path):
    run = (
        f"import os; os.environ.clear(); os.environ.update(HOME={str(tmp_path)!r}, OQTO_PLUGINS='eavs')\n"
        "import oqto_platform.app, oqto_platform.assembly"
    )
    modules = loaded(run)
    assert not modules & {"pdb", "colorama", "difflib", "html.entities", "http.client", "urllib.request"}
    assert not [name for name in modules if name.startswith(("litestar.openapi", "litestar._openapi"))]


def test_what_the_core_did_not_load_is_whole_for_a_plugin(tmp_path):
    run = (
        f"import os; os.environ.clear(); os.environ.update(HOME={str(tmp_path)!r}, OQTO_PLUGINS='eavs')\n"
        "import oqto_platform.app, html, pdb, litestar.openapi\n"
        "from litestar import Litestar, get\n"
        "from litestar.openapi.spec import Example\n"
        "assert html.unescape('&eacute;') == 'é' and pdb.Pdb and Example(value=1).value == 1\n"
        "@get('/', responses={404: litestar.openapi.ResponseSpec(str, description='none')}, sync_to_thread=False)\n"
        "def handler() -> str: return ''\n"
        "oqto_platform.app.app.register(handler)"
    )
    assert "litestar.openapi.spec" in loaded(run)


def test_the_core_can_answer_before_it_loads_the_libraries_of_its_database(tmp_path):
    run = (
        f"import os; os.environ.clear(); os.environ.update(HOME={str(tmp_path)!r}, OQTO_PLUGINS='eavs')\n"
        "import oqto_platform.app"
    )
    assert not loaded(run) & {"sqlmodel", "sqlalchemy", "pydantic"}


def test_metrics_and_traces_load_nothing_before_somebody_asks(tmp_path):
    run = (
        f"import os; os.environ.clear(); os.environ.update(HOME={str(tmp_path)!r}, OQTO_PLUGINS='eavs')\n"
        "import oqto_platform.app"
    )
    names = {module.partition(".")[0] for module in loaded(run)}
    assert not names & {"prometheus_client", "opentelemetry", "google", "requests"}


def test_a_plugin_of_the_core_still_gets_the_whole_of_jwt():
    pytest.importorskip("cryptography")
    run = (
        "import oqto_platform.auth.claims as claims, jwt\n"
        "assert jwt is not claims.jwt and jwt.algorithms.has_crypto and not claims.jwt.algorithms.has_crypto\n"
        "assert jwt.PyJWKClient('https://keys.example').uri"
    )
    assert "jwt" in loaded(run)
