"""Write the lock files anew: requirements/*.txt with hashes, and the package-lock.json of pi, opencode and the frontend.

Pins that still fit are kept; `--upgrade` takes the newest of everything. No lock file names a host, so every
machine fetches from the mirror it is set up for.
"""

from __future__ import annotations

import argparse
import sys

from setup_steps import shell
from setup_steps.frontend import FRONTEND
from setup_steps.indexes import uv_environment
from setup_steps.node import OPENCODE_SOURCES, PI_SOURCES, npm
from setup_steps.place import ROOT, UV
from setup_steps.python import member_names, members

#: A mirror beside the main index may hold builds of its own, whose hashes are right on this machine only.
MACHINE_ONLY = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")


def compile_python(output: str, *arguments: str, upgrade: bool) -> None:
    env = {name: value for name, value in uv_environment().items() if name not in MACHINE_ONLY}
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--quiet"]
    options += ["--upgrade"] if upgrade else []
    target = ["--output-file", f"requirements/{output}"]
    repair = "see which requirement of a pyproject.toml or requirements/*.in cannot be met"
    shell.run([UV, "pip", "compile", *options, *target, *arguments], repair=repair, env=env)
    print(f"lock: requirements/{output}", flush=True)


def lock_workspace(*, upgrade: bool) -> None:
    """Everything the packages of the workspace and their tests need, without those packages themselves."""
    sources = [str((member / "pyproject.toml").relative_to(ROOT)) for member in members()]
    own = [part for name in member_names() for part in ("--no-emit-package", name)]
    compile_python(
        "dev.txt", "--group", "pyproject.toml:dev", *own, "requirements/build.in", *sources, upgrade=upgrade
    )


def lock_npm(*, upgrade: bool) -> None:
    verb = "update" if upgrade else "install"
    for folder in (PI_SOURCES, OPENCODE_SOURCES, FRONTEND):
        npm(verb, "--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved", cwd=folder)
        print(f"lock: {folder.relative_to(ROOT)}/package-lock.json", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/lock.py", description="Write the lock files anew.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    upgrade = parser.parse_args().upgrade
    try:
        compile_python("uv.txt", "requirements/uv.in", upgrade=upgrade)
        compile_python("node.txt", "requirements/node.in", upgrade=upgrade)
        compile_python("prices.txt", "requirements/prices.in", upgrade=upgrade)
        compile_python("compiler.txt", "requirements/compiler.in", upgrade=upgrade)
        lock_workspace(upgrade=upgrade)
        lock_npm(upgrade=upgrade)
    except shell.StepFailed as failure:
        print(f"lock: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
