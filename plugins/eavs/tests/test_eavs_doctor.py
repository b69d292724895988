"""What the doctor says of the proxy while no server runs."""

from __future__ import annotations

import socket

import pytest
from oqto_plugin_eavs.checkup import all_checks
from oqto_plugin_eavs.config import Eavs

from oqto_platform import config
from oqto_platform.config.sections import CORE
from oqto_platform.testing.stack import free_port


def checks(tmp_path, monkeypatch, text: str) -> dict:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "config.toml"
    file.write_text(text)
    settings = config.load(file, {"HOME": str(tmp_path)}, kinds=CORE | {"eavs": Eavs})
    return {check.name: check for check in all_checks(settings)}


def test_a_port_that_somebody_else_has(tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        found = checks(tmp_path, monkeypatch, f'[eavs]\nbase_url = "http://localhost:{number}"\n')
    assert "another program listens there" in found["port of the LLM proxy"].detail
    assert "base_url" in found["port of the LLM proxy"].repair


@pytest.mark.parametrize(
    ("provider", "is_ok", "words"),
    [
        ('kind = "openai"\napi_key = "k"', True, "api.openai.com"),
        ('kind = "openai"', False, "it has no API key"),
        ('kind = "openai-compatible"\nbase_url = "ftp://models"', False, "https://host/v1"),
        ('kind = "openai-compatible"\nbase_url = "http://127.0.0.1:1/v1"', True, "127.0.0.1"),
    ],
)
def test_the_keys_of_providers(tmp_path, monkeypatch, provider, is_ok, words):
    text = f'[eavs]\nbase_url = "http://localhost:{free_port()}"\n[eavs.providers.mine]\n{provider}\n'
    found = checks(tmp_path, monkeypatch, text)
    assert found["port of the LLM proxy"].ok
    assert found["provider mine"].ok is is_ok
    assert words in found["provider mine"].detail
    assert is_ok or "[eavs.providers.mine]" in found["provider mine"].repair


def test_a_proxy_that_is_off(tmp_path, monkeypatch):
    assert checks(tmp_path, monkeypatch, "[eavs]\nenabled = false\n")["LLM proxy"].ok
