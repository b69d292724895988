"""What the tests of the configuration share."""

from __future__ import annotations

from pathlib import Path

import pytest

from oqto_platform import config
from oqto_platform.errors import ConfigError

HOME = {"HOME": "/home/ada"}


@pytest.fixture
def write(tmp_path):
    """Write a file of the configuration."""

    def write(text: str, name: str = "config.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def refusal():
    """The sentence with which a configuration is refused."""

    def refusal(path, env=HOME, **options) -> str:
        with pytest.raises(ConfigError) as refused:
            config.load(path, env, **options)
        return refused.value.detail

    return refusal
