"""A copy of this checkout as it would be committed now, and the set-up's modules on the import path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

#: what a login on a bare machine has; the caches stay, so that mirrors are asked once
KEPT = ("HOME", "LANG", "XDG_CACHE_HOME")


@pytest.fixture(scope="session")
def checkout():
    """The root of the checkout under test."""
    return ROOT


@pytest.fixture(scope="session")
def bare_environment():
    """Variables of a bare login: no virtual environment, no version switcher, no proxy of ours."""
    inherited = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**inherited, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.fixture(scope="session")
def make_clone(tmp_path_factory):
    """Call it for a fresh clone: tracked and new files, nothing that git ignores."""

    def make() -> Path:
        clone = tmp_path_factory.mktemp("clone") / "oqto"
        subprocess.run(["git", "init", "-q", clone], check=True)
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, clone / name)
        return clone

    return make
