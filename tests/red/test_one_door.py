"""Nothing is executed for a session except through the sandbox, and nothing serves or writes the files of a workspace."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.red.test_every_route import routes

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = (ROOT / "oqto_platform", ROOT / "runner/oqto_runner", *(ROOT / "plugins").glob("*/oqto_plugin_*"))

SPAWNS = {
    "oqto_platform/children.py": "daemons of the server itself, by fixed commands",
    "oqto_platform/doctor/browser.py": "asks the Chromium that the configuration names for its version",
    "plugins/eavs/oqto_plugin_eavs/crew.py": "further processes of the LLM proxy, by its own interpreter",
    "runner/oqto_runner/process.py": "the one door: executes a ConfinedPlan",
    "runner/oqto_runner/harness/echo_agent.py": "inside: the agent that does as it is told",
    "plugins/sandbox/oqto_plugin_sandbox/host.py": "asks system programs for their versions, tries an empty sandbox",
    "plugins/sandbox/oqto_plugin_sandbox/mounting.py": "tries whether the first process may mount, in a sandbox without an agent",
    "plugins/sandbox/oqto_plugin_sandbox/__main__.py": "oqto-sandbox run: executes a ConfinedPlan",
}
STARTERS = {
    "subprocess": {"run", "Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "loop": {"subprocess_exec", "subprocess_shell"},
    "os": {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile"},
    "posix": {"system", "fork", "forkpty", "posix_spawn", "posix_spawnp"},
    "pty": {"spawn", "fork"},
    "multiprocessing": {"Process", "Pool", "get_context"},
}
FILES_OF_WORKSPACES = {("GET", "/api/workspaces/browse")}


def calls(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr


def starters(path: Path) -> list[str]:
    found = []
    for module, name in calls(ast.parse(path.read_text())):
        is_exec = module in ("os", "posix") and name.startswith(("exec", "spawn"))
        if is_exec or name in STARTERS.get(module, ()):
            found.append(f"{module}.{name}")
    return found


def test_f12_processes_are_started_in_known_places_only():
    found = {}
    for folder in PRODUCT:
        for path in folder.rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if "/testing/" not in name and (names := starters(path)):
                found[name] = names
    assert set(found) - set(SPAWNS) == set(), (
        "a new way to start a process has to be confined, or named here with its reason"
    )


def test_f12_the_runner_executes_nothing_but_what_the_sandbox_confined():
    found = {}
    for path in (ROOT / "runner/oqto_runner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AsyncFunctionDef) and ("process", "start") in calls(node):
                found[f"{path.stem}.{node.name}"] = ast.unparse(node)
    assert sorted(found) == ["launching.launch", "rehearsal._execute"]
    for name, words in found.items():
        before, started, after = words.partition("process.start(confined,")
        assert re.search(r"confined(, \w+)? = await self\.\S*confine", before), name
        assert started, name
        assert "process.start(" not in after, name


def test_f14_c18_no_route_reads_or_writes_the_files_of_a_workspace(town):
    """Who adds one opens files beneath the workspace without links (`open_beneath`), as the user, and tests it here."""
    words = ("file", "upload", "download", "preview", "browse", "sandbox", "policy", "content", "raw")
    found = {
        (method, path)
        for method, path, _ in routes(town)
        if any(word in path for word in words) and path.startswith("/api/")
    }
    assert found - FILES_OF_WORKSPACES == set()
