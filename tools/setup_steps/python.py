"""The virtual environment: pip brings uv, uv brings everything else from the lock file."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlparse

from setup_steps import debian, shell
from setup_steps.indexes import pip_environment, uv_environment
from setup_steps.place import PYTHON, REQUIREMENTS, ROOT, UV, VENV
from setup_steps.stamps import Stamp

ONLINE = "check that the Python package index can be reached (pip config list shows which), then: make setup"

VENV_STAMP = Stamp(
    VENV / ".stamps" / "venv",
    inputs=lambda: [str(VENV), f"{sys.version_info.major}.{sys.version_info.minor}"],
    outputs=lambda: [PYTHON],
)
UV_STAMP = Stamp(
    VENV / ".stamps" / "uv",
    inputs=lambda: [REQUIREMENTS / "uv.txt"],
    outputs=lambda: [UV],
)
PACKAGES_STAMP = Stamp(
    VENV / ".stamps" / "packages",
    inputs=lambda: [REQUIREMENTS / "dev.txt"],
    outputs=lambda: [VENV / "bin" / "pytest"],
)
MEMBERS_STAMP = Stamp(
    VENV / ".stamps" / "members",
    inputs=lambda: [member / "pyproject.toml" for member in members()],
    outputs=lambda: [VENV / "bin" / "oqto"],
)


def make_venv() -> str:
    """Make the environment anew, or take over one that works and was made for this place."""
    key = VENV_STAMP.key()
    if not VENV_STAMP.path.exists() and shell.ask([PYTHON, "-m", "pip", "--version"]):
        VENV_STAMP.seal(key)
        return "took over the one that is there"
    ensure_ensurepip()
    repair = "remove .venv and run make setup again"
    shell.run([sys.executable, "-m", "venv", "--clear", VENV], repair=repair)
    VENV_STAMP.seal(key)
    return f"Python {sys.version.split()[0]}"


def ensure_ensurepip() -> None:
    """Debian keeps ensurepip in a package of its own, without which there is no pip in an environment."""
    if shell.ask([sys.executable, "-c", "import ensurepip, venv; print('yes')"]):
        return
    package = f"python3.{sys.version_info.minor}-venv"
    if not debian.may_install():
        raise shell.StepFailed(
            f"this Python cannot make virtual environments. → {debian.command([package])}, then make setup"
        )
    debian.apt_install([package])


def install_uv() -> None:
    key = UV_STAMP.key()
    options: list[str | Path] = ["--quiet", "--require-hashes", "--requirement", REQUIREMENTS / "uv.txt"]
    shell.run([PYTHON, "-m", "pip", "install", *options], repair=ONLINE, env=pip_environment())
    UV_STAMP.seal(key)


def install_packages() -> str:
    key = PACKAGES_STAMP.key()
    lock = REQUIREMENTS / "dev.txt"
    uv_pip("install", "--require-hashes", "--requirement", lock)
    PACKAGES_STAMP.seal(key)
    return f"{sum('==' in line for line in lock.read_text().splitlines())} locked"


def install_members() -> str:
    """Install every member of the workspace editable, and take out those that have left it."""
    key = MEMBERS_STAMP.key()
    gone = departed()
    if gone:
        uv_pip("uninstall", *gone)
    editable = [part for member in members() for part in ("--editable", member)]
    # Without isolation the build backend is the locked one, and nothing is fetched.
    uv_pip("install", "--no-deps", "--no-build-isolation", *editable)
    MEMBERS_STAMP.seal(key)
    return f"{len(members())} editable"


def uv_pip(*arguments: str | Path) -> None:
    verb, *rest = arguments
    env = uv_environment()
    shell.run([UV, "pip", verb, "--python", PYTHON, "--no-progress", *rest], repair=ONLINE, env=env)


def install_apart(stamp: Stamp, folder: Path, lock: Path) -> None:
    """What only a tool needs, in a folder of its own, unless the stamp says that it is there."""
    if stamp.stale():
        uv_pip("install", "--require-hashes", "--target", folder, "--upgrade", "-r", lock)
        stamp.seal(stamp.key())


def members() -> list[Path]:
    """The folders of the workspace that hold a package: the root and what its globs name."""
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]
    excluded = {path for glob in workspace.get("exclude", []) for path in ROOT.glob(glob)}
    found = {path for glob in workspace["members"] for path in ROOT.glob(glob)} - excluded
    return [ROOT, *sorted(path for path in found if (path / "pyproject.toml").is_file())]


def member_names() -> list[str]:
    return [tomllib.loads((member / "pyproject.toml").read_text())["project"]["name"] for member in members()]


def departed() -> list[str]:
    """Names of packages installed editable from this checkout whose folder is no longer a member."""
    present = set(members())
    return [name for name, folder in editables() if folder not in present and folder.is_relative_to(ROOT)]


def editables() -> list[tuple[str, Path]]:
    found = []
    for record in VENV.glob("lib/python*/site-packages/*.dist-info/direct_url.json"):
        origin = json.loads(record.read_text())
        if origin.get("dir_info", {}).get("editable"):
            name = record.parent.name.split("-")[0].replace("_", "-")
            found.append((name, Path(unquote(urlparse(origin["url"]).path))))
    return found


def machine_program(name: str) -> Path | None:
    """A program of the machine, not one of this checkout's own environment."""
    path = os.pathsep.join(
        part
        for part in os.environ.get("PATH", os.defpath).split(os.pathsep)
        if not part.startswith(str(ROOT))
    )
    found = shutil.which(name, path=path)
    return Path(found) if found else None
