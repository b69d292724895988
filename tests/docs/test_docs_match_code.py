"""What the reference lists is what the code has: no more, no less."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import typing

import click
import msgspec
import pytest

from oqto_platform import canon, hookspecs, wire
from oqto_platform.cli import COMMANDS, plugin_group
from oqto_platform.cli import root as oqtoctl
from oqto_platform.cli.serve import root as oqto
from oqto_platform.config.sections import CORE
from oqto_platform.errors import OqtoError
from oqto_platform.hooks import Mode
from oqto_platform.settings import Section

PACKAGES = ("oqto_platform", "oqto_runner", "oqto_plugin_eavs", "oqto_plugin_sandbox")
NOT_IMPORTED = ("oqto_platform.app", "oqto_platform.testing", "oqto_platform.db.migrations")
VARIABLE = re.compile(r"(?:OQTO|GRANIAN|EAVS|XDG|RUST|LISTEN|NOTIFY)_[A-Z_]*[A-Z]")
EAVS_ROUTES = "/api/plugins/eavs"


def headings(text: str, level: int) -> list[str]:
    return re.findall(rf"^{'#' * level} (.+)$", text, re.MULTILINE)


def between(text: str, kind: str) -> list[str]:
    return re.findall(rf"<!-- generated: {kind} (.+?) -->", text)


def sections_of(name: str, kind: type[Section]) -> dict[str, type[Section]]:
    """The section and every section inside it, by the name that the page gives it."""
    found = {name: kind}
    for field, hint in typing.get_type_hints(kind).items():
        for inner in (hint, *typing.get_args(hint)):
            if isinstance(inner, type) and issubclass(inner, Section):
                mark = {tuple: "[]", dict: ".NAME"}.get(typing.get_origin(hint), "")
                found |= sections_of(f"{name}.{field}{mark}", inner)
    return found


def paths_of_click(name: str, command: click.Command) -> set[str]:
    found = {name}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for sub in [*command.list_commands(context), *(["eavs"] if command is oqtoctl else [])]:
            child = (
                plugin_group(sub)
                if command is oqtoctl and sub not in COMMANDS
                else command.get_command(context, sub)
            )
            assert child is not None
            found |= paths_of_click(f"{name} {sub}", child)
    return found


def import_everything() -> None:
    for package in PACKAGES:
        module = importlib.import_module(package)
        for found in pkgutil.walk_packages(module.__path__, f"{package}.", onerror=lambda _: None):
            if not found.name.startswith(NOT_IMPORTED) and not found.name.endswith("__main__"):
                importlib.import_module(found.name)


def all_below(kind: type) -> set[type]:
    return {kind}.union(*(all_below(child) for child in kind.__subclasses__()))


def test_generated_parts_are_fresh(repository):
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nwrite them anew: python docs/generate.py"


def test_generating_twice_changes_nothing_and_keeps_prose(repository, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("docs_generate", repository / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    page = "before\n<!-- generated: a -->\n\nold\n\n<!-- end -->\nafter\n"
    once = generate.fill(page, {"a": "new", "b": "more"})
    assert once.startswith("before\n<!-- generated: a -->\n\nnew\n\n<!-- end -->\nafter\n")
    assert generate.fill(once, {"a": "new", "b": "more"}) == once
    with pytest.raises(SystemExit, match="b"):
        generate.fill(once, {"a": "new"})


def test_every_hook_has_its_heading(documents):
    text = documents.pages["docs/reference/hooks.md"]
    specified = {name for name, value in vars(hookspecs).items() if hasattr(value, "policy")}
    assert set(headings(text, 3)) == specified


def test_there_is_a_way_to_do_it_for_every_hook(documents):
    pages = "\n".join(text for page, text in documents.pages.items() if "/how-to/" in page)
    specified = {name for name, value in vars(hookspecs).items() if hasattr(value, "policy")}
    assert sorted(name for name in specified if not re.search(rf"\b{name}\b", pages)) == []


def test_hooks_page_says_signature_mode_and_time_out(documents):
    text = documents.pages["docs/reference/hooks.md"]
    for name, spec in vars(hookspecs).items():
        if not hasattr(spec, "policy"):
            continue
        part = text.split(f"\n### {name}\n")[1].split("\n### ")[0]
        assert all(f"{arg}: " in part for arg in inspect.signature(spec).parameters), name
        assert f"| {spec.policy.mode.name} |" in part
        assert "\nWhen: " in part, f"{name}: no sentence says when it is called"
        if spec.policy.mode is not Mode.REGISTER:
            assert f"{spec.policy.timeout_s:g} s" in part


def test_every_mode_is_explained(documents):
    for page in ("docs/reference/hooks.md", "docs/explanation/hook-modes.md"):
        explained = {row[0] for row in documents.rows(page) if row[0].isupper()}
        assert {mode.name for mode in Mode} <= explained


def test_config_page_has_every_section_and_key(documents):
    from oqto_plugin_eavs.config import Eavs

    text = documents.pages["docs/reference/config.md"]
    kinds = {}
    for name, kind in (CORE | {"eavs": Eavs}).items():
        kinds |= sections_of(name, kind)
    assert set(between(text, "section")) == set(kinds)
    for name, kind in kinds.items():
        title = f"[[{name.removesuffix('[]')}]]" if name.endswith("[]") else f"[{name}]"
        documented = {row[0].strip("`") for row in documents.rows("docs/reference/config.md", f"### {title}")}
        assert documented - {"key"} == {field.name for field in msgspec.structs.fields(kind)}, name


def test_config_page_marks_what_waits_for_a_restart_and_what_is_not_built(documents):
    for name, kind in CORE.items():
        rows = {row[0].strip("`"): row for row in documents.rows("docs/reference/config.md", f"### [{name}]")}
        for field, hint in typing.get_type_hints(kind, include_extras=True).items():
            metas = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
            extra = (metas[0].extra or {}) if metas else {}
            assert ("restart" in rows[field][-1]) == bool(extra.get("restart")), f"{name}.{field}"
            assert ("not yet supported" in rows[field][-1]) == bool(extra.get("needs")), f"{name}.{field}"


def test_sandbox_keys_are_all_there(documents):
    from oqto_plugin_sandbox.policy.schema import KEYS

    rows = documents.rows("docs/reference/config.md", "### Keys of sandbox.toml")
    assert {row[0].strip("`") for row in rows} - {"key"} == set(KEYS)


def test_every_command_has_its_heading(documents):
    from oqto_plugin_sandbox.__main__ import main as sandbox

    text = documents.pages["docs/reference/cli.md"]
    expected = (
        paths_of_click("oqto", oqto)
        | paths_of_click("oqtoctl", oqtoctl)
        | paths_of_click("oqto-sandbox", sandbox)
    )
    documented = set(headings(text, 2)) | set(headings(text, 3))
    ours = {name for name in documented if name.split()[0] in ("oqto", "oqtoctl", "oqto-sandbox")}
    assert ours == expected
    assert {"oqto-runner", "oqto-eavs", "oqto-eavs serve"} <= documented


def test_every_error_code_has_its_heading_and_advice(documents):
    import_everything()
    text = documents.pages["docs/reference/errors.md"]
    codes = {kind.code for kind in all_below(OqtoError) if kind.__module__.startswith(PACKAGES)}
    assert set(headings(text, 3)) == codes
    for code in codes:
        advice = text.split(f"<!-- generated: error {code} -->")[1].split("<!-- end -->")[1]
        assert advice.split("<!--")[0].strip(), f"{code}: nothing says what to do about it"


def test_routes_page_has_every_route(documents, tmp_path):
    program = (
        "import json\nfrom oqto_platform.app import app\n"
        "print(json.dumps([[r.path, sorted(getattr(r, 'methods', ['WS']))] for r in app.routes]))\n"
    )
    env = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ} | {
        "HOME": str(tmp_path)
    }
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env, cwd="/"
    )
    served = set()
    for path, methods in __import__("json").loads(done.stdout.splitlines()[-1]):
        plain = re.sub(r"\{session_id:\w+\}", "{id}", path)
        plain = re.sub(r"\{(\w+):\w+\}", r"{\1}", plain)
        served |= {f"{method} {plain}" for method in methods if method not in ("OPTIONS", "HEAD", "WS")}
    documented = {
        title.split("?")[0]
        for title in headings(documents.pages["docs/reference/api.md"], 3)
        if " /" in title
    }
    assert documented == served


def test_api_page_names_every_canonical_command(documents):
    text = documents.pages["docs/reference/api.md"]
    tags = {kind.__struct_config__.tag for kind in typing.get_args(canon.Command)}
    assert {tag for tag in tags if f"`{tag}`" not in text and f"`{tag} " not in text} == set()


def test_wire_page_has_every_request_reply_and_field(documents):
    rows = {
        row[0].strip("`"): row for row in documents.rows("docs/reference/wire.md") if row[0].startswith("`")
    }
    kinds = [*typing.get_args(wire.Request), *typing.get_args(wire.Reply)]
    assert set(rows) - {"cmd", "reply"} == {kind.__struct_config__.tag for kind in kinds}
    for kind in kinds:
        documented = re.findall(r"`(\w+)`", rows[kind.__struct_config__.tag][1])
        assert documented == list(kind.__struct_fields__), kind.__name__


def strings_of_product(repository):
    roots = [
        repository / "oqto_platform",
        repository / "runner" / "oqto_runner",
        *(repository / "plugins").glob("*/oqto_plugin_*"),
    ]
    for root in roots:
        for path in root.rglob("*.py"):
            if "testing" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_environment_page_has_every_variable(documents, repository):
    text = documents.pages["docs/reference/environment.md"]
    used = {
        name
        for value in strings_of_product(repository)
        for name in (value, value.partition("=")[0])
        if VARIABLE.fullmatch(name) and "__" not in name
    }
    documented = {
        name for name in re.findall(r"`([A-Z_]+)`", text) if VARIABLE.fullmatch(name) and "__" not in name
    }
    assert documented == used


def test_words_of_the_code_are_explained(documents):
    explained = {row[0].strip("*") for row in documents.rows("CONTEXT.md")}
    wanted = "Account Principal Workspace Session Runner Harness Plugin Event Reservation Turn Mux"
    assert set(wanted.split()) <= explained


# What a page says about this version, and the code that would make it untrue.
UNTRUE_ONCE = [
    ("docs/reference/config.md", "waits for the next start too", r"call\.config_changed\("),
    ("docs/how-to/run-under-systemd.md", "every account uses the runner of", r"\.linux_users"),
]


@pytest.mark.parametrize(("page", "sentence", "code"), UNTRUE_ONCE)
def test_what_is_said_to_be_missing_is_missing(documents, repository, page, sentence, code):
    sources = "\n".join(path.read_text() for path in sorted((repository / "oqto_platform").rglob("*.py")))
    assert (" ".join(sentence.split()) in " ".join(documents.pages[page].split())) == (
        re.search(code, sources) is None
    )


def test_make_targets_in_pages_exist(documents, repository):
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    named = {
        word
        for text in documents.pages.values()
        for word in re.findall(r"(?:^|`|&& )make ([a-z-]+)", text, re.MULTILINE)
    }
    assert named - targets == set()


def test_states_of_a_session_are_those_of_the_code(documents):
    from oqto_platform.sessions.states import MOVES

    rows = documents.rows("docs/explanation/architecture.md", "## States")
    documented = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows if row[0] != "state"}
    assert documented == {state: set(wanted) for state, wanted in MOVES.items()}
