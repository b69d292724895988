"""How long a change takes: `python bench/reload.py`

From a saved config.toml to its effect in a running server: what a person feels after pressing save."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from _figures import claim, middle

from oqto_platform.testing.stack import Stack

ROUNDS, LIMIT_MS = 20, 300


def effect_ms(stack: Stack, config: Path, size: int) -> float:
    """Save, and ask until the answer is the new one."""
    config.write_text(f"[server]\nmax_upload_size_mb = {size}\n")
    begin = time.perf_counter()
    while stack.client.get("/api/features").json()["max_upload_size_mb"] != size:
        time.sleep(0.002)
    return (time.perf_counter() - begin) * 1e3


def main() -> None:
    root = Path(tempfile.mkdtemp())
    config = root / "config.toml"
    config.write_text("")
    with Stack(root, plugins=("sandbox",), env={"OQTO_CONFIG": str(config)}) as stack:
        stack.set_up()
        effect_ms(stack, config, 1)  # the watcher begins a moment after the start
        times = [effect_ms(stack, config, size) for size in range(2, 2 + ROUNDS)]
    claim("config.toml, from saved to in effect, median", middle(times), LIMIT_MS, "ms")
    claim("config.toml, from saved to in effect, slowest", max(times), LIMIT_MS, "ms", f"of {ROUNDS}")


if __name__ == "__main__":
    main()
