"""The built-in profiles, for one home directory."""

# ruff: noqa: S108 - /tmp is the sandbox's own

from __future__ import annotations

from msgspec.structs import replace

from oqto_plugin_sandbox.host import landlock_version
from oqto_plugin_sandbox.policy.model import Limits, Network, Policy

BUILT_IN = ("minimal", "development", "strict")

# Secrets, other sessions and the controls of the host. No layer can take one away. The folders of Oqto itself
# hold its database and its sockets: an agent that reached the admin socket would be the admin.
DENIED_IN_HOME = (
    ".ssh", ".gnupg", ".aws", ".azure", ".config/gcloud", ".kube", ".docker/config.json", ".netrc",
    ".git-credentials", ".config/gh", ".npmrc", ".pypirc", ".cargo/credentials", ".cargo/credentials.toml",
    ".config/oqto", ".config/octo", ".local/share/oqto", ".local/state/oqto", ".password-store", ".local/share/keyrings", ".mozilla", ".config/google-chrome",
    ".config/chromium", ".config/rclone", ".config/sops", ".terraform.d/credentials.tfrc.json", ".vault-token",
    ".pi/agent/auth.json", ".pi/agent/sessions", ".claude.json", ".claude/.credentials.json", ".claude/projects",
    ".claude/history.jsonl", ".codex/auth.json", ".codex/sessions", ".codex/history.jsonl", ".gemini/oauth_creds.json",
    ".local/share/opencode", ".bash_history", ".zsh_history", ".python_history", ".node_repl_history", ".psql_history",
)  # fmt: skip
DENIED_ON_HOST = ("/etc/oqto", "/etc/octo")
DENIED_PROGRAMS = tuple(
    f"/usr/bin/{name}" for name in ("systemctl", "systemd-run", "at", "crontab", "pkexec", "sudo", "su")
)
READ_ONLY_IN_HOME = (".config/oqto",)
SHELL_START_FILES = (
    ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile", ".zshrc", ".zshenv", ".zprofile",
    ".zlogin", ".config/fish", ".config/autostart", ".config/systemd", ".gitconfig", ".config/git",
    ".local/bin", ".cargo/bin", ".bun/bin",
)  # fmt: skip
CACHES_IN_HOME = (
    ".cargo/registry", ".cargo/git", ".npm", ".bun/install", ".local/share/uv", ".local/share/pnpm", "go/pkg",
    ".cache/uv", ".cache/pip", ".cache/go-build", ".cache/node", ".cache/pnpm", ".cache/yarn", ".cache/pre-commit",
)  # fmt: skip


def built_in(name: str, home: str) -> Policy:
    """The profile `name` for the home directory `home`. Raises `KeyError` for a name that is not built in."""
    return {"minimal": _minimal, "development": _development, "strict": _strict}[name](home)


def _common(home: str) -> Policy:
    return Policy(
        deny_read=(*_below(home, DENIED_IN_HOME), *DENIED_ON_HOST, *DENIED_PROGRAMS),
        deny_write=_below(home, READ_ONLY_IN_HOME),
    )


def _minimal(home: str) -> Policy:
    common = _common(home)
    return replace(
        common,
        profiles=("minimal",),
        home="rw",
        deny_write=(*common.deny_write, *_below(home, SHELL_START_FILES)),
        allow_write=("/tmp",),
    )


def _development(home: str) -> Policy:
    return replace(
        _common(home),
        profiles=("development",),
        allow_write=(*_below(home, CACHES_IN_HOME), "/tmp"),
        home="ro",
    )


def _strict(home: str) -> Policy:
    return replace(
        _common(home),
        profiles=("strict",),
        home="private",
        allow_read=(),
        allow_write=("/tmp",),
        assert_userns_disabled=True,
        landlock_mode="enforce" if landlock_version() else "audit",
        deny_unix=True,
        network=Network(mode="isolated"),
        limits=Limits(pids=1024, memory_mb=8192),
    )


def _below(home: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{home}/{name}" for name in names)
