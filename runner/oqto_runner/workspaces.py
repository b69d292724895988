"""Plain folders as workspaces, and which folders never become one."""

from __future__ import annotations

import os
from pathlib import Path

from oqto_platform.errors import Forbidden, Invalid
from oqto_platform.types import Workspace, WorkspaceRequest
from oqto_runner.browse import resolved

_private: set[Path] = set()


def protect(folder: Path) -> None:
    """Never let an agent work in `folder`, below it, or in a folder that contains it."""
    _private.add(folder.resolve())


def open_workspace(request: WorkspaceRequest) -> Workspace:
    """Make or open the folder of `request`, a plain one. Raises `Invalid` or `Forbidden`, each with a sentence."""
    if request.template:
        raise Invalid(f"no plugin of this runner makes a workspace from the template {request.template!r}")
    path = resolved(request.path)
    check_place(path)
    is_new = not path.exists()
    if is_new:
        _make(path, create=request.create)
    if not path.is_dir():
        raise Invalid(f"{path} is not a folder; choose a folder")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise Forbidden(
            f"{path} may not be written by uid {os.getuid()}; choose another folder or change its owner"
        )
    return Workspace(path=str(path), name=path.name, is_new=is_new)


def check_place(path: Path) -> None:
    """Raises `Invalid` for a folder that no agent may work in, wherever it is asked for."""
    if path == path.parent:
        raise Invalid("/ cannot be a workspace: an agent would see the whole machine; choose a folder")
    if path == Path.home().resolve():
        raise Invalid(f"{path} is your home, where your keys and settings are; choose or make a folder in it")
    for private in (*_private, *_own_folders()):
        if path == private or private in path.parents:
            raise Invalid(f"{path} belongs to Oqto itself; choose a folder outside of {private}")
        if path in private.parents:
            raise Invalid(f"{path} contains {private}, where Oqto keeps its state; choose a folder beside it")


def refusal(path: Path) -> str:
    """What `check_place` says of a folder; empty when it may be worked in."""
    try:
        check_place(path)
    except Invalid as exc:
        return exc.detail
    return ""


def _own_folders() -> list[Path]:
    home = Path.home()
    homes = {
        "XDG_STATE_HOME": home / ".local/state",
        "XDG_DATA_HOME": home / ".local/share",
        "XDG_CONFIG_HOME": home / ".config",
    }
    return [(Path(os.environ.get(name) or default) / "oqto").resolve() for name, default in homes.items()]


def _make(path: Path, *, create: bool) -> None:
    if not create:
        raise Invalid(f"{path} does not exist; make it first, or ask for it to be created")
    try:
        path.mkdir(mode=0o755, parents=True)
    except PermissionError as exc:
        raise Forbidden(
            f"{path} cannot be made: {path.parent} may not be written by uid {os.getuid()}"
        ) from exc
    except OSError as exc:
        raise Invalid(f"{path} cannot be made: {exc.strerror}") from exc
