"""The core's sections: every key once, with its default, its meaning and its marks."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from oqto_platform.settings import Secret, Section, key

MIN_SECRET = 32
MIN_TOKEN = 16
DEV_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
HASH = re.compile(r"\$argon2id\$|\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$")
HOST = re.compile(r"[^\s/]+")
ORIGIN = re.compile(r"https?://[^\s/]+")
SAMPLE_SECRETS = ("your-secret-32-chars+", "your-secret-key-change-me-in-production-32-chars")


class Logging(Section, frozen=True):
    level: Annotated[
        Literal["error", "warn", "info", "debug", "trace"],
        key("Log level. OQTO_LOG and RUST_LOG win over it."),
    ] = "info"
    file: Annotated[str, key("Also write the log to this file.", path="file")] = ""
    audit_enabled: Annotated[bool, key("Keep the audit log.")] = True
    audit_file: Annotated[
        str,
        key(
            "Audit log path; empty: audit.log.jsonl in paths.state_dir. When it changes, the chain goes on in the new file.",
            path="file",
        ),
    ] = ""
    audit_max_mb: Annotated[
        int,
        key("Size in MiB at which a new audit file is begun; older ones stay.", ge=1, le=4096),
    ] = 64


class Server(Section, frozen=True):
    listen: Annotated[
        str, key("host:port that `oqto serve` listens on; --host and --port win.", restart=True)
    ] = "127.0.0.1:8080"
    max_upload_size_mb: Annotated[
        int,
        key(
            "Largest request body, file or message in MiB; a message on the WebSocket has 16 at most.",
            ge=1,
            le=4096,
        ),
    ] = 100
    admin_socket_path: Annotated[
        str, key("Unix socket for oqtoctl. Empty: none.", restart=True, path="socket")
    ] = "/run/oqto/oqtoctl.sock"
    metrics_token: Annotated[
        Secret, key("Bearer token of the program that reads /metrics. Empty: only admins may.")
    ] = Secret("")

    def check(self) -> None:
        address(self.listen)
        if 0 < (length := len(self.metrics_token.reveal())) < MIN_TOKEN:
            raise ValueError(f"metrics_token: has {length} characters; use at least {MIN_TOKEN}")


def address(listen: str) -> tuple[str, int]:
    """Host and port of `server.listen`; `ValueError` for what is none."""
    host, colon, port = listen.rpartition(":")
    if not (colon and HOST.fullmatch(host) and port.isdecimal()) or not 0 < int(port) < 65536:  # noqa: PLR2004
        raise ValueError(f"listen: {listen!r} is not host:port, such as 127.0.0.1:8080")
    return host.strip("[]"), int(port)


class Runtime(Section, frozen=True):
    parallelism: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=512)] | None,
        key(
            "Threads for blocking work in each pool of a worker process; unset: CPU count, but at least 4.",
            restart=True,
        ),
    ] = None
    timeout: Annotated[int, key("Seconds after which an operation on a runner is given up.", ge=1)] = 60
    fail_fast: Annotated[
        bool,
        key(
            "Stop the start at the first failing check; false: tell them all and start with what works.",
            restart=True,
        ),
    ] = True


class Paths(Section, frozen=True):
    data_dir: Annotated[
        str, key("Persistent data: the database, the LLM proxy's ledger.", restart=True, path="folder")
    ] = "$XDG_DATA_HOME/oqto"
    state_dir: Annotated[
        str, key("State of this machine: logs, sockets, event logs.", restart=True, path="folder")
    ] = "$XDG_STATE_HOME/oqto"


class Backend(Section, frozen=True):
    mode: Annotated[
        Literal["local", "container", "auto"],
        key("Where agents run: on this machine, in containers, or whichever is there.", restart=True),
    ] = "auto"

    def check(self) -> None:
        if self.mode == "container":
            raise ValueError(
                "mode: this version has no support for container sessions yet, and the policy of sandbox.toml would "
                "not hold in them; use 'local' or 'auto'"
            )


class Container(Section, frozen=True):
    runtime: Annotated[
        Literal["docker", "podman"] | None,
        key("Container runtime; unset: detected.", needs="container sessions"),
    ] = None
    binary: Annotated[
        str, key("Path of the container runtime.", needs="container sessions", path="program")
    ] = ""
    default_image: Annotated[str, key("Container image for sessions.", needs="container sessions")] = (
        "oqto-dev:latest"
    )
    base_port: Annotated[
        int, key("First port for session services.", needs="container sessions", ge=1024, le=65535)
    ] = 41820
    skel_path: Annotated[str, key("Skeleton of new homes.", needs="container sessions", path="folder")] = ""


class LinuxUsers(Section, frozen=True):
    enabled: Annotated[
        bool, key("One Linux user per account (needs root).", needs="one Linux user per account")
    ] = False
    prefix: Annotated[str, key("Prefix of user names.", needs="one Linux user per account")] = "oqto_"
    uid_start: Annotated[int, key("First uid.", needs="one Linux user per account", ge=1000, le=65534)] = 2000
    group: Annotated[str, key("Shared group.", needs="one Linux user per account")] = "oqto"
    shell: Annotated[str, key("Login shell.", needs="one Linux user per account")] = "/bin/bash"
    use_sudo: Annotated[bool, key("Create users through sudo.", needs="one Linux user per account")] = True
    create_home: Annotated[bool, key("Create home directories.", needs="one Linux user per account")] = True


class Local(Section, frozen=True):
    enabled: Annotated[bool, key("Run agents on this machine (backend.mode = auto).", restart=True)] = False
    fileserver_binary: Annotated[str, key("Path of oqto-files.", needs="the file server", path="program")] = (
        "fileserver"
    )
    ttyd_binary: Annotated[str, key("Path of ttyd.", needs="terminals", path="program")] = "ttyd"
    workspace_dir: Annotated[
        str,
        key(
            "Where workspaces are offered first; `{user_id}` is the account.",
            path="folder",
            placeholders=("user_id",),
        ),
    ] = "$HOME/oqto/{user_id}"
    single_user: Annotated[bool, key("Personal mode: one account, one runner.", restart=True)] = False
    runner_socket_pattern: Annotated[
        str,
        key(
            "Socket of an account's runner; `{user}` and `{uid}` are the Linux user's. "
            "Empty or single_user: the server starts a runner of its own.",
            restart=True,
            path="socket",
            placeholders=("user", "uid"),
        ),
    ] = ""
    socket_dir: Annotated[
        str,
        key(
            "Older spelling of runner_socket_pattern: the folder above `{user}/oqto-runner.sock`.",
            restart=True,
            path="folder",
        ),
    ] = ""
    cleanup_on_startup: Annotated[bool, key("Stop all sessions when the server starts.")] = False
    stop_sessions_on_shutdown: Annotated[
        bool, key("Stop all sessions when the server stops. Personal mode always does.")
    ] = False
    linux_users: LinuxUsers = LinuxUsers()


class Runner(Section, frozen=True):
    """Read by the runner; the core only checks it."""

    runner_id: Annotated[
        str, key("Name of the runner; empty: OQTO_RUNNER_ID, else the host name.", restart=True)
    ] = ""
    pi_sessions_dir: Annotated[
        str, key("Pi session files to import.", needs="the import of older conversations", path="folder")
    ] = "~/.local/share/pi/sessions"
    memories_dir: Annotated[str, key("Memories database directory.", needs="memories", path="folder")] = (
        "~/.local/share/mmry"
    )


class AgentBrowser(Section, frozen=True):
    enabled: Annotated[bool, key("A browser for each session.", needs="the agent browser")] = False
    binary: Annotated[str, key("Browser daemon.", needs="the agent browser", path="program")] = (
        "oqto-browserd"
    )
    headed: Annotated[bool, key("Show the browser's window.", needs="the agent browser")] = False
    stream_port_base: Annotated[
        int, key("First screencast port.", needs="the agent browser", ge=1024, le=65535)
    ] = 30000
    stream_port_range: Annotated[int, key("Number of screencast ports.", needs="the agent browser", ge=1)] = (
        10000
    )
    executable_path: Annotated[str, key("Chromium to use.", needs="the agent browser", path="program")] = ""
    extensions: Annotated[tuple[str, ...], key("Browser extensions.", needs="the agent browser")] = ()

    def check(self) -> None:
        last = self.stream_port_base + self.stream_port_range - 1
        if last > 65535:  # noqa: PLR2004 (the highest port there is)
            raise ValueError(f"stream_port_range: the last port would be {last}; there are none above 65535")


class DevUser(Section, frozen=True):
    id: Annotated[str, key("Id of the account.")]
    name: Annotated[str, key("Name to sign in with.")]
    email: Annotated[str, key("Address.")]
    password_hash: Annotated[Secret, key("bcrypt or argon2 hash of the password.")]
    role: Annotated[Literal["user", "admin"], key("What the account may do.")] = "user"

    def check(self) -> None:
        if not DEV_ID.fullmatch(self.id):
            raise ValueError(f"id: {self.id!r}: use 1 to 40 letters, digits, - or _")
        if not HASH.match(self.password_hash.reveal()):
            raise ValueError("password_hash: is no bcrypt or argon2id hash; make one: oqtoctl hash-password")


class Auth(Section, frozen=True):
    dev_mode: Annotated[
        bool,
        key("Sign cookies with a generated secret when none is set; cookies work without TLS.", restart=True),
    ] = True
    jwt_secret: Annotated[
        Secret,
        key("Signs session cookies; at least 32 characters. Needed when dev_mode = false.", restart=True),
    ] = Secret("")
    oidc_issuer: Annotated[str, key("OpenID Connect provider.", needs="OpenID Connect")] = ""
    oidc_audience: Annotated[str, key("OpenID Connect audience.", needs="OpenID Connect")] = ""
    allowed_origins: Annotated[
        tuple[str, ...], key("Other origins (https://host) that may call us, besides our own.")
    ] = ()
    dev_users: Annotated[
        tuple[DevUser, ...], key("Accounts for development; they sign in while dev_mode = true.")
    ] = ()
    session_hours: Annotated[int, key("Hours until a sign-in ends by itself.", ge=1, le=8760)] = 24 * 30

    def check(self) -> None:
        if strange := next((name for name in self.allowed_origins if not ORIGIN.fullmatch(name)), ""):
            raise ValueError(f"allowed_origins: {strange!r} is no origin, such as https://oqto.example.com")
        names = [user.name.casefold() for user in self.dev_users]
        if double := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"dev_users: two of them are named {double!r}")
        length = len(self.jwt_secret.reveal())
        if self.dev_mode and length == 0:
            return
        if length == 0:
            raise ValueError("jwt_secret: needed when dev_mode = false; set it, e.g. to env:AUTH_JWT_SECRET")
        if length < MIN_SECRET:
            raise ValueError(f"jwt_secret: has {length} characters; use at least {MIN_SECRET}")
        if self.jwt_secret.reveal() in SAMPLE_SECRETS:
            raise ValueError(
                "jwt_secret: is the one of an example, which everybody knows; make one: openssl rand -base64 48"
            )


class Sessions(Section, frozen=True):
    auto_attach: Annotated[
        Literal["off", "attach", "resume", "on"], key("What the UI does with sessions that exist already.")
    ] = "on"
    auto_attach_scan: Annotated[bool, key("Look for running sessions before attaching.")] = True
    max_concurrent_sessions: Annotated[int, key("Running sessions per account.", ge=1)] = 6
    idle_timeout_minutes: Annotated[
        int, key("Minutes without activity before a session is stopped.", ge=1)
    ] = 30
    idle_check_interval_seconds: Annotated[int, key("Seconds between looks for idle sessions.", ge=1)] = 300


class Templates(Section, frozen=True):
    type: Annotated[Literal["remote", "local"], key("Where templates come from.", needs="templates")] = (
        "remote"
    )
    repo_path: Annotated[
        str, key("Folder of the templates repository.", needs="templates", path="folder")
    ] = ""
    sync_on_list: Annotated[bool, key("Update before listing.", needs="templates")] = True
    sync_interval_seconds: Annotated[int, key("Seconds between updates.", needs="templates", ge=1)] = 120


class OnboardingTemplates(Section, frozen=True):
    sync_enabled: Annotated[bool, key("Keep onboarding texts up to date.", needs="onboarding")] = True
    sync_interval_seconds: Annotated[int, key("Seconds between updates.", needs="onboarding", ge=1)] = 300
    use_embedded_fallback: Annotated[bool, key("Use the built-in texts.", needs="onboarding")] = True
    branch: Annotated[str, key("Branch of the repository.", needs="onboarding")] = "main"
    subdirectory: Annotated[str, key("Folder in the repository.", needs="onboarding")] = "agents"


class Feedback(Section, frozen=True):
    keep_public: Annotated[bool, key("Keep the public copy after archiving.", needs="feedback")] = True
    sync_interval_seconds: Annotated[int, key("Seconds between archivings.", needs="feedback", ge=1)] = 60


class Scaffold(Section, frozen=True):
    binary: Annotated[str, key("Scaffolding tool.", needs="scaffolding", path="program")] = "byt"
    subcommand: Annotated[str, key("Subcommand.", needs="scaffolding")] = "new"
    template_arg: Annotated[str, key("Template argument.", needs="scaffolding")] = "--template"
    output_arg: Annotated[str, key("Output argument.", needs="scaffolding")] = "--output"
    github_arg: Annotated[str, key("GitHub argument.", needs="scaffolding")] = "--github"
    private_arg: Annotated[str, key("Private argument.", needs="scaffolding")] = "--private"
    description_arg: Annotated[str, key("Description argument.", needs="scaffolding")] = "--description"


class Plugins(Section, frozen=True):
    disabled: Annotated[tuple[str, ...], key("Installed plugins that are not loaded.", restart=True)] = ()
    only: Annotated[
        tuple[str, ...], key("When set, no other plugin is loaded. OQTO_PLUGINS=a,b wins.", restart=True)
    ] = ()
    trusted_panels: Annotated[
        tuple[str, ...],
        key(
            "Plugins whose panels live in the page itself, with the rights of whoever looks; others get a sandboxed frame."
        ),
    ] = ()

    def check(self) -> None:
        """A plugin that was named to be there and is not could be the one that confines or that counts money."""
        if not self.only:
            return  # to look costs 10 ms
        from oqto_platform.hooks import installed_names

        names = installed_names()
        if missing := [name for name in self.only if name not in names]:
            raise ValueError(
                f"only: no plugin {missing[0]!r} is installed; there are: {', '.join(sorted(names))}. "
                "Install it, or take its name out"
            )


CORE: dict[str, type[Section]] = {
    "logging": Logging,
    "server": Server,
    "runtime": Runtime,
    "paths": Paths,
    "backend": Backend,
    "container": Container,
    "local": Local,
    "runner": Runner,
    "agent_browser": AgentBrowser,
    "auth": Auth,
    "sessions": Sessions,
    "templates": Templates,
    "onboarding_templates": OnboardingTemplates,
    "feedback": Feedback,
    "scaffold": Scaffold,
    "plugins": Plugins,
}
"""Sections of the core. A plugin of the same name replaces the one that stands here until it exists."""
