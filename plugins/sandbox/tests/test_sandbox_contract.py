"""The sandbox keeps what every plugin keeps."""

from __future__ import annotations

import shutil

import pytest

from oqto_platform.testing import PluginContract

pytestmark = pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not installed")


class TestContract(PluginContract):
    plugin = "sandbox"
