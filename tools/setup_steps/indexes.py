"""Make uv go where pip goes: the same index, certificates, hosts and patience."""

from __future__ import annotations

import ast
from pathlib import Path

from setup_steps import place, shell

#: pip's option → uv's variable
TRANSLATED = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "no-index": "UV_NO_INDEX",
    "proxy": "ALL_PROXY",
    "cert": "SSL_CERT_FILE",
}


def pip_environment() -> dict[str, str]:
    """The environment for pip: it trusts what the machine trusts unless it was told what to trust."""
    trusted = place.system_certificates()
    if not trusted or "cert" in configured():
        return place.environment()
    return {"PIP_CERT": str(trusted), **place.environment()}


def uv_environment() -> dict[str, str]:
    """The environment for uv. What the caller set for uv itself wins over what pip was told."""
    told = translate(configured())
    if place.system_certificates():
        told["UV_SYSTEM_CERTS"] = "true"
    # As pip does, take the right file from whichever index has it; the hashes decide what is right.
    told["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {**told, **place.environment(), "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"}


def translate(options: dict[str, str]) -> dict[str, str]:
    told = {TRANSLATED[name]: value for name, value in options.items() if name in TRANSLATED}
    if "UV_HTTP_TIMEOUT" in told:
        told["UV_HTTP_TIMEOUT"] = str(int(float(told["UV_HTTP_TIMEOUT"])))
    if "UV_FIND_LINKS" in told:
        # pip passes over a folder that is not there; uv stops at it, and wants commas.
        links = [link for link in told["UV_FIND_LINKS"].split() if "://" in link or Path(link).exists()]
        told["UV_FIND_LINKS"] = ",".join(links)
    return told


def configured() -> dict[str, str]:
    """What pip's files and variables on this machine say."""
    return pip_options(shell.ask([place.PYTHON, "-m", "pip", "config", "list"]))


def pip_options(listing: str) -> dict[str, str]:
    """Read `pip config list`: lines of scope.option='value'; options of the environment win."""
    options: dict[str, str] = {}
    lines = sorted(listing.splitlines(), key=lambda line: line.startswith(":env:"))
    for line in lines:
        name, _, literal = line.partition("=")
        scope, _, option = name.rpartition(".")
        if scope in {"global", "install", ":env:"} and literal:
            options[option.replace("_", "-")] = " ".join(str(ast.literal_eval(literal)).split())
    return options
