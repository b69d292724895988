"""Pages hold together: links lead somewhere, blocks run, nothing speaks of one machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from oqto_platform.config import load
from oqto_platform.config.sections import CORE

LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
MACHINE = re.compile(r"/(?:work|root|home|Users|mnt|tmp)/(?!\.\.\.)[\w.-]+")
ALLOWED_PATHS = {"/tmp/oqto-runner.sock"}
PROGRAM = re.compile(r"(?:^|[;&|]\s*)(?:sudo )?(oqto[\w-]*|octoctl)(?=\s|$)(?P<rest>[^#\n|&;]*)")


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    plain = re.sub(r"[`*]", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(text: str) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_every_relative_link_leads_to_a_file_and_a_heading(documents):
    broken = []
    for page in documents.pages:
        here = documents.root / page
        for match in LINK.finditer(documents.prose(page)):
            target, _, anchor = match["target"].partition("#")
            if "://" in target:
                continue
            file = (here.parent / target).resolve() if target else here
            if not file.exists():
                broken.append(f"{page}: {match['target']}")
            elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
                broken.append(f"{page}: {match['target']}: no such heading")
    assert broken == []


def test_every_page_of_the_documentation_is_listed(documents):
    index = documents.pages["docs/README.md"]
    pages = [name for name in documents.pages if name.startswith("docs/") and name != "docs/README.md"]
    assert [name for name in pages if f"({name.removeprefix('docs/')})" not in index] == []


def test_no_page_names_a_path_of_a_machine(documents):
    found = {
        f"{page}: {match}"
        for page, text in documents.pages.items()
        for match in MACHINE.findall(text)
        if match not in ALLOWED_PATHS
    }
    assert found == set()


def test_commands_in_blocks_exist(documents):
    """Every `oqto…` line of a shell block names a command that `cli.md` has, with options that it has."""
    reference = documents.pages["docs/reference/cli.md"]
    parts = re.split(r"^##+ ", reference, flags=re.MULTILINE)
    known = {part.split("\n")[0]: part for part in parts}
    unknown = []
    for block in documents.blocks("sh"):
        for line in block.body.splitlines():
            for match in PROGRAM.finditer(line.split("#")[0].strip()):
                words = [match[1].replace("octoctl", "oqtoctl"), *match["rest"].split()]
                if reason := misspelt(words, known):
                    unknown.append(f"{block.page}: {line}: {reason}")
    assert unknown == []


def misspelt(words: list[str], known: dict[str, str]) -> str:
    """What is wrong with a command line, as far as the reference tells."""
    if words[0] not in known or words[1:2] == ["curfew"]:  # the example plugin of the how-to
        return "" if words[0] in known else "no such program"
    name, rest = words[0], words[1:]
    while rest and f"{name} {rest[0]}" in known:
        name, rest = f"{name} {rest[0]}", rest[1:]
    if rest and not rest[0].startswith("-") and "COMMAND [ARGS]" in known[name]:
        return f"{name} has no command {rest[0]}"
    if name == "oqto-sandbox run":
        return ""
    options = [word.split("=")[0] for word in rest if word.startswith("--") and word != "--help"]
    return ", ".join(f"{name} has no {option}" for option in options if f"{option}" not in known[name])


def test_toml_blocks_are_valid_configuration(documents, tmp_path):
    """Blocks that hold sections of `config.toml` are accepted as they stand."""
    from oqto_plugin_eavs.config import Eavs

    kinds = CORE | {"eavs": Eavs}
    checked = 0
    for block in documents.blocks("toml"):
        tree = tomllib.loads(block.body)
        if not tree or not set(tree) <= set(kinds) or "file=pyproject.toml" in block.words:
            continue
        file = tmp_path / f"{checked}.toml"
        (tmp_path / "jwt-secret").write_text("x" * 40)
        file.write_text(block.body.replace("file:/etc/oqto/jwt-secret", f"file:{tmp_path}/jwt-secret"))
        env = {
            "HOME": str(tmp_path),
            "XDG_RUNTIME_DIR": str(tmp_path),
            "USER": "ada",
            "ANTHROPIC_API_KEY": "secret",
            "OPENAI_API_KEY": "secret",
        }
        load(file, env, kinds=kinds)
        checked += 1
    assert checked >= 5


def test_sandbox_toml_blocks_are_valid_policy(documents):
    from oqto_plugin_sandbox.policy.document import Place, parse

    place = Place(file="sandbox.toml", role="base", home="/home-of-ada")
    blocks = [
        block for block in documents.blocks("toml") if "network" in block.body or "enabled" in block.body
    ]
    policies = [block for block in blocks if not set(tomllib.loads(block.body)) & set(CORE)]
    assert policies
    for block in policies:
        parse(block.body, place)


def test_json_blocks_are_json(documents):
    import json

    for block in documents.blocks("json"):
        json.loads(block.body)


def test_tested_shell_blocks_run(documents, tmp_path):
    """In an empty home, with the programs of this environment on PATH."""
    blocks = documents.blocks("sh", "tested")
    assert blocks
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    env = {"HOME": str(tmp_path), "PATH": path, "LANG": "C.UTF-8"}
    for block in blocks:
        done = subprocess.run(
            ["sh", "-euc", block.body],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block.page}:\n{block.body}\n{done.stdout}{done.stderr}"


def test_tested_python_blocks_run(documents):
    blocks = documents.blocks("python", "tested")
    assert blocks
    for block in blocks:
        exec(compile(block.body, block.page, "exec"), {"__name__": "docs"})


def test_other_python_blocks_at_least_compile(documents):
    for block in documents.blocks("python"):
        if len(block.words) > 1:
            continue
        source = block.body if "->" not in block.body else re.sub(r"(?m)^(def .+)$", r"\1: ...", block.body)
        compile(source, block.page, "exec")


@pytest.mark.parametrize("name", ["README.md", "CONTEXT.md", "CHANGELOG.md", "SECURITY.md"])
def test_front_pages_are_there(documents, name):
    assert documents.pages[name].startswith("# ")


def test_changelog_names_the_version_of_the_package(documents, repository):
    version = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"]
    assert version in documents.pages["CHANGELOG.md"]


def test_decisions_are_numbered_without_a_hole(documents):
    names = sorted(name.split("/")[-1] for name in documents.pages if name.startswith("docs/adr/"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for name in names:
        text = documents.pages[f"docs/adr/{name}"]
        assert all(f"\n## {part}\n" in text for part in ("Options", "Decision", "Because", "Consequences"))
