"""Commands of a person beside a running server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def oqtoctl(stack, *arguments):
    """`oqtoctl` with the environment of `stack`, whatever its exit code."""
    command = [str(Path(sys.executable).with_name("oqtoctl")), *arguments]
    return subprocess.run(
        command, env=stack.env, cwd="/", capture_output=True, text=True, timeout=60, check=False
    )


def printed(stack, *arguments):
    """What a command that must succeed prints."""
    done = oqtoctl(stack, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
