"""How long a test waits for the fixture `oqto` of the test kit. `python bench/kit.py [--runs 11]`

From the moment that a test asks for it (nothing of the kit is loaded) until it has a server with core, runner, plugins,
scripted model and a signed-in account, on paths that were never used before. Each run in a fresh Python.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from _figures import claim, middle, put_tools_on_path

LIMIT_S = 2.0

FIXTURE = """
import json, sys, tempfile, time
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    begun = time.perf_counter()
    from oqto_platform.testing.kit import running
    with running(Path(folder), None, {}) as oqto:
        ready_s = time.perf_counter() - begun
        oqto.client.get("/api/me").raise_for_status()
print(json.dumps(ready_s))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=11)
    runs = parser.parse_args().runs
    put_tools_on_path()
    start()  # compiles the modules
    found = [start() for _ in range(runs)]
    note = f"middle {middle(found):.2f} s, from {min(found):.2f} to {max(found):.2f} s in {runs} runs"
    # The quickest: what else the machine does comes on top.
    claim("fixture oqto of the test kit", min(found), LIMIT_S, "s", note)


def start() -> float:
    done = subprocess.run([sys.executable, "-c", FIXTURE], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout))


if __name__ == "__main__":
    main()
