"""The user interface: its packages, and its build copied to where the server looks."""

from __future__ import annotations

import shutil

from setup_steps.node import npm
from setup_steps.place import ROOT, TOOLS
from setup_steps.shell import StepFailed
from setup_steps.stamps import Stamp

FRONTEND = ROOT / "frontend"
BUILT = FRONTEND / "dist"
SERVED = ROOT / "oqto_platform" / "ui"

PACKAGES_STAMP = Stamp(
    FRONTEND / "node_modules" / ".stamp",
    inputs=lambda: [FRONTEND / "package-lock.json"],
    outputs=lambda: [FRONTEND / "node_modules" / ".bin" / "vite"],
)
BUILD_STAMP = Stamp(
    TOOLS / "ui.stamp",
    inputs=lambda: [FRONTEND],
    outputs=lambda: [SERVED / "index.html"],
)


def install_packages() -> None:
    key = PACKAGES_STAMP.key()
    npm("ci", cwd=FRONTEND)
    PACKAGES_STAMP.seal(key)


def build() -> None:
    key = BUILD_STAMP.key()
    npm("run", "build", cwd=FRONTEND, repair="repair what the build reports in frontend/, then: make ui")
    if not (BUILT / "index.html").is_file():
        raise StepFailed("the build left no frontend/dist/index.html. → look at frontend/vite.config.ts")
    publish()
    BUILD_STAMP.seal(key)


def publish() -> None:
    """Swap the new build in whole: a running server never serves half of one."""
    fresh = SERVED.with_name(".ui.new")
    old = SERVED.with_name(".ui.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(BUILT, fresh)
    if SERVED.exists():
        SERVED.rename(old)
    fresh.rename(SERVED)
    shutil.rmtree(old, ignore_errors=True)
