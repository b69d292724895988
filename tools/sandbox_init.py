"""
Build the first process of a sandbox from `plugins/sandbox/oqto_plugin_sandbox/init/source`, for both processors.

The locked compiler (zig, with the C library musl) gives the same bytes on every machine, so what is in the
repository can be compared with its source: `--check` builds and compares, and changes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

from setup_steps import shell
from setup_steps.place import PYTHON, REQUIREMENTS, ROOT, TOOLS, environment
from setup_steps.python import install_apart
from setup_steps.stamps import Stamp

COMPILER = TOOLS / "compiler"
LOCK = REQUIREMENTS / "compiler.txt"
INIT = ROOT / "plugins" / "sandbox" / "oqto_plugin_sandbox" / "init"
PROCESSORS = ("aarch64", "x86_64")
OPTIONS = (
    "-std=c11", "-D_GNU_SOURCE", "-static", "-Os", "-s", "-fno-sanitize=all", "-ffunction-sections",
    "-Wall", "-Wextra", "-Werror", "-Wl,--gc-sections", "-Wl,--build-id=none",
)  # fmt: skip
REPAIR = "correct what the compiler names, or the network that brings it"
STAMP = Stamp(
    COMPILER / ".stamp",
    inputs=lambda: [LOCK],
    outputs=lambda: [COMPILER / "ziglang"],
)


def sources() -> list[Path]:
    return sorted((INIT / "source").glob("*.[ch]"))


def built_by() -> str:
    """The compiler with its hashes, and each source with its own: what a test compares without a compiler."""
    files = [LOCK, *sources(), *(INIT / f"init-{processor}" for processor in PROCESSORS)]
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


def build(processor: str, into: Path) -> Path:
    """Compile from inside the folder, so that nothing of this machine's paths gets into the program."""
    program = into / f"init-{processor}"
    caches = {name: str(TOOLS / "zig-cache") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    files = [file.name for file in sources() if file.suffix == ".c"]
    argv = [
        PYTHON,
        "-m",
        "ziglang",
        "cc",
        "-target",
        f"{processor}-linux-musl",
        *OPTIONS,
        "-o",
        program,
        *files,
    ]
    env = environment(PYTHONPATH=str(COMPILER), **caches)
    shell.run(argv, repair=REPAIR, cwd=INIT / "source", env=env)
    program.chmod(0o755)
    return program


def compare(folder: Path) -> None:
    """Raises `StepFailed` for a program that is not what its source gives."""
    for processor in PROCESSORS:
        if build(processor, folder).read_bytes() != (INIT / f"init-{processor}").read_bytes():
            raise shell.StepFailed(f"init-{processor} is not what its source gives. → make init")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/sandbox_init.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare what is there with its source")
    try:
        checks_only = parser.parse_args().check
        install_apart(STAMP, COMPILER, LOCK)
        if checks_only:
            with tempfile.TemporaryDirectory() as folder:
                compare(Path(folder))
        else:
            for processor in PROCESSORS:
                build(processor, INIT)
            (INIT / "SHA256SUMS").write_text(built_by())
    except shell.StepFailed as failure:
        print(f"init: {failure}")
        return 1
    print("init: the programs are what their source gives")
    return 0


if __name__ == "__main__":
    sys.exit(main())
