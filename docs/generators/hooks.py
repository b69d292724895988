"""Each hook with its signature, mode, time-out, side, callers and answerers."""

from __future__ import annotations

import inspect
import re
from typing import Any

from generators.source import ROOT, files, plugins, table
from oqto_platform import hookspecs
from oqto_platform.accounts.builtin import PasswordSignIn
from oqto_platform.hooks import Hooks, Mode, Policy, Side

EXAMPLES = ROOT / "docs" / "examples" / "hooks"


def blocks() -> dict[str, str]:
    """One part per hook, in the order of the catalogue."""
    answered = answerers()
    found = {name: value for name, value in vars(hookspecs).items() if hasattr(value, "policy")}
    return {f"hook {name}": describe(name, spec, answered.get(name, [])) for name, spec in found.items()}


def describe(name: str, spec: Any, answered: list[str]) -> str:
    policy: Policy = spec.policy
    limit = "none: called once at load" if policy.mode is Mode.REGISTER else f"{policy.timeout_s:g} s"
    row = (
        policy.mode.name,
        limit,
        " and ".join(policy.sides),
        ", ".join(f"`{path}`" for path in callers(name)) or "nobody yet",
        ", ".join(answered) or "nobody yet",
    )
    head = ("mode", "time-out", "side", "called from", "answered by")
    text = inspect.getdoc(spec) or ""
    parts = [f"### {name}", fenced(signature(name, spec)), table(head, [row]), text, example(name)]
    return "\n\n".join(parts)


def example(name: str) -> str:
    """The whole file; a test of the hook's name runs it."""
    file = EXAMPLES / f"{name}.py"
    if not file.is_file():
        raise SystemExit(f"the hook {name} has no example: write {file.relative_to(ROOT)} and its test")
    return fenced(file.read_text(encoding="utf-8").strip(), f" example={name}")


def fenced(code: str, mark: str = "") -> str:
    return f"```python{mark}\n{code}\n```"


def signature(name: str, spec: Any) -> str:
    hints = dict(spec.__annotations__)
    answer = hints.pop("return")
    return f"def {name}({', '.join(f'{arg}: {hint}' for arg, hint in hints.items())}) -> {answer}"


def callers(name: str) -> list[str]:
    """Files that call the hook, through `Hooks.call` or, for plain functions, by its name."""
    call = re.compile(rf'\bcall\.{name}\b|register_all\(\s*"{name}"|getattr\([^\n]*"{name}"')
    own = ("oqto_platform/calls.py", "oqto_platform/hookspecs.py")
    return [path for path, text in files() if path not in own and call.search(text)]


def answerers() -> dict[str, list[str]]:
    """Hook to the plugins of this repository that implement it."""
    found: dict[str, list[str]] = {}
    for side in ("core", "runner"):
        for info in loaded(side).plugins():
            for hook in info.hooks:
                label = f"{info.name} ({side})" if info.name == "builtin" else f"`{info.name}`"
                found.setdefault(hook, []).append(label)
    return {hook: sorted(set(names)) for hook, names in found.items()}


def loaded(side: Side) -> Hooks:
    hooks = Hooks(side)
    if side == "core":
        hooks.register(PasswordSignIn(lambda: None), "builtin")
    for entry in plugins(side):
        hooks.register_entry(entry)
    return hooks.checked()
