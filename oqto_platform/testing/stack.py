"""
A real server on temporary paths and free ports: Granian, runner, plugins, nothing faked.

`Stack` is a context manager; leaving it ends everything it started. Only for tests.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import httpx

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
NAME, PASSWORD = "ada", "correct horse battery"


class Stack:
    """One server. `root` is a fresh folder; `settings` are configuration keys such as `"sessions.auto_attach"`."""

    def __init__(
        self,
        root: Path,
        *,
        plugins: tuple[str, ...] = ("eavs", "sandbox"),
        command: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = root / "server.log"
        self.state_dir, self.data_dir = root / "state", root / "data"
        self.home = root / "home"
        self.workspace = self.home / "project"
        self.workspace.mkdir(parents=True, exist_ok=True)
        proxy = {"eavs.base_url": f"http://127.0.0.1:{free_port()}"} if "eavs" in plugins else {}
        self.env = self._environment(proxy | settings) | {"OQTO_PLUGINS": ",".join(plugins)} | (env or {})
        self.command = command or (sys.executable, "-m", "oqto_platform.cli.serve", "serve", "--single-user", "--port", str(self.port))  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    @cached_property
    def client(self) -> httpx.Client:
        """Its cookies are those of the account that `set_up` made."""
        return self.unsigned_client()

    def unsigned_client(self) -> httpx.Client:
        """A client that is not signed in."""
        # Without TLS, which this server has not: to read the certificates takes as long as to start a runner.
        client: httpx.Client = _httpx().Client(base_url=self.url, timeout=60, trust_env=False, verify=False)
        return client

    def _environment(self, settings: dict[str, Any]) -> dict[str, str]:
        keep = ("PATH", "LANG", "OQTO_PI", "OQTO_NODE", "USER", "LOGNAME", "CI")
        values = {
            "paths.data_dir": self.data_dir,
            "paths.state_dir": self.state_dir,
            "server.admin_socket_path": self.root / "oqtoctl.sock",
            "local.single_user": "true",
        } | settings
        return {name: os.environ[name] for name in keep if name in os.environ} | {
            "HOME": str(self.home),
            "PYTHONUNBUFFERED": "1",
            **{f"OQTO__{key.replace('.', '__').upper()}": _text(value) for key, value in values.items()},
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if "client" in vars(self):
            self.client.close()
        self.stop()
        from oqto_platform.peers import listener_pid

        for path in self.sockets():
            if pid := listener_pid(str(path)):
                os.kill(pid, signal.SIGKILL)

    def start(self) -> None:
        """Start the server and wait until it is open; a failing start raises with its log."""
        self.spawn()
        self.until_open()

    def until_open(self) -> None:
        """Wait until the server is open; one that ends raises with its log."""
        # Any answer of the API will do: it waits until the worker is open.
        self._until_answer("/api/me")

    def until_live(self) -> None:
        """Wait for the first answer, which comes while the server still opens."""
        self._until_answer("/health/live")

    def spawn(self) -> None:
        """Start the server and wait for nothing."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )

    def _until_answer(self, path: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        client = self.client  # its library loads while the server starts
        while not (self._listens() and _answers(client, path)):
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.01)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), START_TIMEOUT_S).close()
        except OSError:
            return False
        return True

    def stop(self) -> int | None:
        """SIGTERM, as Ctrl-C or a supervisor does; the exit code."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            code = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.process = None
        return code

    def kill(self) -> None:
        """`kill -9` of the server and its workers; daemons and agents are left alone."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def sockets(self) -> list[Path]:
        """The Unix sockets of this server's daemons."""
        return [path for path in self.state_dir.rglob("*.sock") if path.is_socket()]

    def setup_token(self) -> str:
        """The token of the link that was printed last; of several workers, only the leading one prints it."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (found := re.findall(r"#/setup/(\S+)", self.log.read_text())):
            if time.monotonic() > deadline:
                raise RuntimeError(f"no link was printed:\n{self.log.read_text()}")
            time.sleep(0.05)
        return str(found[-1])

    def set_up(self) -> None:
        """Make the first account; the client is signed in afterwards."""
        body = {"token": self.setup_token(), "name": NAME, "password": PASSWORD}
        self.client.post("/api/auth/setup", json=body).raise_for_status()

    def sign_in(self) -> None:
        """Sign the client in."""
        self.client.post("/api/auth/login", json={"name": NAME, "password": PASSWORD}).raise_for_status()

    def start_session(self, **fields: Any) -> dict[str, Any]:
        """A session in the workspace; raises with the problem's text."""
        response = self.client.post("/api/sessions", json={"workspace": str(self.workspace), **fields})
        if response.status_code != 201:  # noqa: PLR2004
            raise RuntimeError(response.text)
        view: dict[str, Any] = response.json()
        return view

    def cookie(self) -> str:
        """The `Cookie` header of the signed-in client."""
        return f"oqto={self.client.cookies['oqto']}"


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        client.get(path, timeout=START_TIMEOUT_S)
    except _httpx().HTTPError:
        return False
    return True


def _httpx() -> Any:
    """The client library, without its command line."""
    from oqto_platform import slim

    with slim.without("click", "pygments", "rich"):
        return import_module("httpx")


def _text(value: Any) -> str:
    """A setting as the environment spells it: a Python bool is not TOML's."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
