"""Build every package of the workspace into dist/ and try the wheels where nothing of the checkout is seen."""

from __future__ import annotations

import argparse
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path

from setup_steps import place, shell
from setup_steps.indexes import uv_environment
from setup_steps.place import REQUIREMENTS, ROOT, UV
from setup_steps.python import member_names

DIST = ROOT / "dist"
START_S = 120
STOP_S = 30
REPAIR = "the wheels do not work as they are; repair what is named above, then: make wheels"

#: Run with the clean environment's own Python: everything that is installed loads, and its entry points too.
LOADS = """
import importlib, importlib.metadata as metadata, sys
for name in sys.argv[1:]:
    found = metadata.distribution(name)
    importlib.import_module(name.replace("-", "_"))
    for entry in found.entry_points:
        entry.load()
"""


def build(into: Path = DIST, *packages: Path) -> list[Path]:
    """Build all members of the workspace and these packages beside it; what was in the folder is gone."""
    shutil.rmtree(into, ignore_errors=True)
    for source in (["--all-packages"], *([package] for package in packages)):
        build_one(into, *source)
    return sorted(into.glob("*.whl"))


def build_one(into: Path, *source: str | Path) -> None:
    # Without isolation the build backend is the locked one, and nothing is fetched.
    options = ["--no-build-isolation", "--out-dir", into, "--python", sys.executable]
    repair = "see what uv reports about the package it names"
    shell.run([UV, "build", *source, *options], repair=repair, env=uv_environment())


def check_contents(wheels: list[Path]) -> None:
    """One wheel for each member; the platform's holds the user interface."""
    names = {wheel.name.split("-")[0].replace("_", "-") for wheel in wheels}
    missing = set(member_names()) - names
    if missing:
        raise shell.StepFailed(f"no wheel was built for {', '.join(sorted(missing))}")
    platform = next(wheel for wheel in wheels if wheel.name.startswith("oqto_platform-"))
    inside = zipfile.ZipFile(platform).namelist()
    if not {"oqto_platform/ui/index.html", "oqto_platform/ui/panels/frame.js"} <= set(inside):
        raise shell.StepFailed(f"{platform.name} holds no user interface. → make ui, then make wheels")


def try_out(wheels: list[Path], folder: Path) -> None:
    """Install the wheels into an empty environment, load everything they declare, and start the server."""
    python = empty_environment(folder, *wheels, test_kit(wheels))
    shell.run([python, "-I", "-c", LOADS, *member_names()], repair=REPAIR, cwd=folder)
    print("wheels: every entry point loads", flush=True)
    keep_contracts(folder, python)
    print("wheels: our own plugins keep the contract", flush=True)
    serve(folder, python.with_name("oqto"))
    print("wheels: the server answers and serves the user interface", flush=True)


def test_kit(wheels: list[Path]) -> str:
    """The requirement that brings what the contract suite and the fixtures need."""
    platform = next(wheel for wheel in wheels if wheel.name.startswith("oqto_platform-"))
    return f"oqto-platform[testing] @ {platform.resolve().as_uri()}"


def keep_contracts(folder: Path, python: Path) -> None:
    """Our own plugins pass the suite that every plugin passes, installed as a stranger would have them."""
    suites = folder / "contracts"
    suites.mkdir()
    for suite in sorted(ROOT.glob("plugins/*/tests/test_*_contract.py")):
        shutil.copy(suite, suites)
    shell.run(
        [python, "-I", "-m", "pytest", "-q", "-p", "no:cacheprovider", suites], repair=REPAIR, cwd=folder
    )


def empty_environment(folder: Path, *requirements: str | Path) -> Path:
    """The Python of a new environment that holds these requirements, in the locked versions, and nothing else."""
    env = uv_environment()
    python = folder / "venv" / "bin" / "python"
    shell.run([UV, "venv", "--python", sys.executable, folder / "venv"], repair=REPAIR, env=env)
    constraint: list[str | Path] = ["--constraint", constraints_file(folder)]
    shell.run([UV, "pip", "install", "--python", python, *constraint, *requirements], repair=REPAIR, env=env)
    return python


def serve(folder: Path, program: Path) -> None:
    """Start the installed server in a home of its own, fetch its first page, stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "XDG_RUNTIME_DIR": str(folder)}
    home["OQTO__SERVER__ADMIN_SOCKET_PATH"] = str(folder / "oqtoctl.sock")
    options = f"serve --mode local --single-user --no-open --port {port}".split()
    with (folder / "server.log").open("w+") as log:
        server = subprocess.Popen(
            [program, *options], cwd=folder, env=place.environment(**home), stdout=log, stderr=log
        )
        try:
            page = first_page(f"http://127.0.0.1:{port}/", server)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(STOP_S)
        log.seek(0)
        said = log.read()[-3000:]
        if not page:
            raise shell.StepFailed(f"the installed server did not answer within {START_S} s:\n{said}")
        if "<script" not in page:
            raise shell.StepFailed(f"the installed server does not serve the user interface:\n{said}")


def first_page(address: str, server: subprocess.Popen[bytes]) -> str:
    """The page at `address` once the server answers; empty when it ends or says nothing for `START_S`."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
            return str(answer.read(), "utf-8")
        time.sleep(0.1)
    return ""


def constraints_file(folder: Path) -> Path:
    """The locked versions without their hashes: a constraint with a hash would ask for one of our own wheels."""
    lines = (REQUIREMENTS / "dev.txt").read_text().splitlines()
    pins = [line.removesuffix("\\").strip() for line in lines if line[:1].isalnum()]
    target = folder / "constraints.txt"
    target.write_text("\n".join(pins))
    return target


def main() -> int:
    argparse.ArgumentParser(prog="make wheels", description=__doc__).parse_args()
    try:
        wheels = build()
        check_contents(wheels)
        with tempfile.TemporaryDirectory(prefix="oqto-wheels-") as folder:
            try_out(wheels, Path(folder))
    except shell.StepFailed as failure:
        print(f"wheels: {failure}")
        return 1
    print("\n".join(f"wheels: dist/{wheel.name} {wheel.stat().st_size / 1e6:.2f} MB" for wheel in wheels))
    return 0


if __name__ == "__main__":
    sys.exit(main())
