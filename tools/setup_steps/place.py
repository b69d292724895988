"""Where things are: every path of the set-up, and the environment its programs run in."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
NODE_BIN = TOOLS / "node" / "bin"
REQUIREMENTS = ROOT / "requirements"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"

SYSTEM_CERTIFICATES = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))


def system_certificates() -> Path | None:
    """What this machine trusts, the authority of its own mirror included; Node and pip bring their own lists."""
    return next((path for path in SYSTEM_CERTIFICATES if path.is_file()), None)


def environment(**extra: str) -> dict[str, str]:
    """The caller's environment, quiet and without questions, our Node first, caches in the XDG folder."""
    home = os.environ.get("HOME") or str(Path("~").expanduser())
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path(home, ".cache"))
    defaults = {"HOME": home, "npm_config_cache": str(Path(cache, "npm"))}
    if trusted := system_certificates():
        defaults["NODE_EXTRA_CA_CERTS"] = str(trusted)
    quiet = {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
        "npm_config_yes": "true",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    path = os.pathsep.join([str(NODE_BIN), os.environ.get("PATH", os.defpath)])
    # An activated environment or a PYTHONPATH of the caller must not leak into ours.
    foreign = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    inherited = {name: value for name, value in os.environ.items() if name not in foreign}
    return {**defaults, **inherited, **quiet, "PATH": path, **extra}
