#!/usr/bin/env python3
"""Set the checkout up: virtual environment, Node, pi, user interface, Debian packages.

Needs nothing but a Python and its standard library. Every step keeps a stamp beside what it made, keyed by a
hash of what it was made from, so a second run does nothing and needs no network.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys

OLDEST_PYTHON = (3, 11)


def ensure_python() -> None:
    """Start again under a newer Python of this machine when this one is too old, or say what to install."""
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return
    for minor in range(20, OLDEST_PYTHON[1] - 1, -1):
        newer = shutil.which(f"python3.{minor}")
        if newer:
            os.execv(newer, [newer, *sys.argv])
    wanted = ".".join(map(str, OLDEST_PYTHON))
    sys.exit(
        f"setup: this is Python {sys.version.split()[0]}, Oqto needs {wanted} or newer: install one and "
        f"run again, or name it: make PYTHON=/path/to/python3 setup"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/setup.py", description="Set this checkout up.")
    parser.add_argument("--plan", action="store_true", help="say what would be done and why, and do nothing")
    parser.add_argument("--only", metavar="STEP", action="append", default=[], help="run only this step")
    return parser.parse_args()


def main() -> int:
    ensure_python()
    arguments = parse_arguments()
    # Imported after the version check: the steps are written for the Python that Oqto needs.
    from setup_steps import journey

    if arguments.plan:
        return journey.plan(only=arguments.only)
    return journey.follow(only=arguments.only)


if __name__ == "__main__":
    sys.exit(main())
