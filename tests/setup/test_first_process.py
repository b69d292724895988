"""The compiled first process of a sandbox, built again from its source."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FETCHES = "it fetches a compiler of 80 MB; `make init ARGS=--check` does the same"


@pytest.mark.skipif("CI" not in os.environ, reason=FETCHES)
def test_the_programs_in_the_repository_are_what_their_source_gives(checkout):
    build = [sys.executable, "tools/sandbox_init.py", "--check"]
    done = subprocess.run(build, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "what their source gives" in done.stdout
