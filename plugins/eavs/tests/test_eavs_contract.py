"""The LLM proxy keeps what every plugin keeps."""

from __future__ import annotations

from oqto_platform.testing import PluginContract
from oqto_platform.testing.stack import free_port


class TestContract(PluginContract):
    plugin = "eavs"
    settings = {"base_url": f"http://127.0.0.1:{free_port()}"}  # noqa: RUF012 (read only)
