"""A server's configuration with the scripted provider in it."""

from __future__ import annotations

from pathlib import Path

from oqto_platform.testing.llm import ScriptedProvider

PROVIDER = """
[eavs.providers.scripted]
kind = "openai-compatible"
base_url = "{url}/v1"
api_key = "env:REAL_PROVIDER_KEY"
models = ["fake-1"]
[eavs.providers.scripted.prices.fake-1]
input = 1.0
output = 2.0
"""


def scripted_env(root: Path, provider: ScriptedProvider, **eavs: object) -> dict[str, str]:
    """Write `root/config.toml`, the provider priced and `eavs` its keys of `[eavs]`; the environment of a server."""
    path = root / "config.toml"
    lines = [f"{name} = {value}\n" for name, value in eavs.items()]
    path.write_text("".join(["[eavs]\n", *lines, PROVIDER.format(url=provider.url)]))
    return {"OQTO_CONFIG": str(path), "REAL_PROVIDER_KEY": "sk-real-canary-0123456789"}
