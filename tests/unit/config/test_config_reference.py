"""
The reference that people configure by, `fixtures/config/reference.json`, against what the code declares.

The fixture holds its tables row by row: key, type, default and meaning, the environment variables, and the
whole example file.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from oqto_platform import config
from oqto_platform.config import keys
from oqto_platform.config.sections import CORE
from oqto_platform.config.view import plain, type_of, value_of
from oqto_platform.hooks import Hooks

FIXTURES = Path(__file__).parents[2] / "fixtures" / "config"
ROOT = Path(__file__).parents[3]
REFERENCE = json.loads((FIXTURES / "reference.json").read_text())
KINDS = CORE | Hooks.load("core").register_all("register_config")
DECLARED = {key.name: key for key in keys.of_all(KINDS)}
TYPES = {
    "string": {"text", "choice", "secret"},
    "bool": {"switch"},
    "int": {"integer"},
    "float": {"number"},
    "string[]": {"list"},
}
EMPTY = {"(none)", "(auto)", "(CPU count)", "(hostname)", "(required in prod)", "(auto in dev)"}
OTHERWISE = {
    # The table names no default, the example this value; both must load while containers are to come.
    "eavs.container_url": "http://host.containers.internal:41800",
}
SAME_MEANING = {
    "logging.level": "level",
    "logging.file": "file",
    "logging.audit_enabled": "audit",
    "logging.audit_file": "audit",
    "server.max_upload_size_mb": "MiB",
    "server.admin_socket_path": "oqtoctl",
    "runtime.parallelism": "CPU count",
    "runtime.timeout": "Seconds",
    "sessions.auto_attach_scan": "running sessions",
    "sessions.max_concurrent_sessions": "Running sessions per account",
    "sessions.idle_timeout_minutes": "Minutes",
    "sessions.idle_check_interval_seconds": "Seconds",
    "auth.jwt_secret": "32",
    "local.runner_socket_pattern": "`{user}` and `{uid}`",
    "local.workspace_dir": "`{user_id}`",
}


def rows():
    return [pytest.param(row, id=f"{row['section']}.{row['key']}") for row in REFERENCE["keys"]]


@pytest.mark.parametrize("row", rows())
def test_a_key_of_the_tables_has_their_type_and_default(row):
    name = f"{row['section']}.{row['key']}"
    key = DECLARED[name]
    assert type_of(key.hint) in TYPES[row["type"]]
    default = plain(key.default)
    if name in OTHERWISE:
        assert default == OTHERWISE[name]
    elif row["default"] in EMPTY:
        assert not default
    elif row["type"] == "string":
        assert default == row["default"].strip('"')
    else:
        assert plain(default) == type(default)(json.loads(row["default"]))
    assert SAME_MEANING.get(name, "") in key.description


def test_every_section_of_the_example_is_known_with_every_key():
    assert set(REFERENCE["example"]) <= set(KINDS)
    for section, values in REFERENCE["example"].items():
        for key, value in values.items():
            names = (
                [f"{section}.{key}.{inner}" for inner in value]
                if isinstance(value, dict)
                else [f"{section}.{key}"]
            )
            assert set(names) <= set(DECLARED)


def test_what_the_example_says_is_what_holds():
    path = FIXTURES / "seed-example.toml"
    settings = config.load(path, {"HOME": "/home/ada"}, kinds=KINDS)
    for name, value in flat(tomllib.loads(path.read_text())):
        expected = value.replace("$HOME", "/home/ada") if isinstance(value, str) else value
        assert plain(value_of(settings, name)) == expected, name
        assert settings.origins[name] == str(path)


def flat(tables, prefix=""):
    for name, value in tables.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        elif prefix:
            yield f"{prefix}{name}", value


@pytest.mark.parametrize("name", [row["name"] for row in REFERENCE["variables"]])
def test_every_variable_of_the_table_is_documented_and_read(name):
    assert f"`{name}`" in (ROOT / "docs/reference/environment.md").read_text()
    folders = ("oqto_platform", "runner/oqto_runner", "plugins")
    sources = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    assert any(name in path.read_text() for path in sources)


def test_every_key_of_the_sandbox_section_holds(tmp_path):
    from oqto_plugin_sandbox.policy.schema import KEYS

    assert set(REFERENCE["sandbox"]) - {"profile"} <= set(KEYS)


@pytest.mark.parametrize("name", REFERENCE["frontend"])
def test_the_variables_of_the_frontend_are_read_and_documented(name):
    sources = [path.read_text() for path in (ROOT / "frontend/src").rglob("*.ts")]
    configs = [path.read_text() for path in (ROOT / "frontend").glob("vite.config.ts")]
    assert any(name in text for text in sources + configs)
    assert name in (ROOT / "docs/reference/environment.md").read_text()
