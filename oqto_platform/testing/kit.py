"""
What the fixture `oqto` gives: a whole server for tests of plugins.

Nothing heavy is imported at the head: a test waits for the server, and what else it needs loads meanwhile.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from oqto_platform.private import private_dir
from oqto_platform.testing.stack import Stack, free_port

if TYPE_CHECKING:
    import httpx

    from oqto_platform.testing.llm import ScriptedProvider
    from oqto_platform.testing.under_test import SessionUnderTest

GROUPS = ("oqto.core", "oqto.runner")
ACCOUNT_ID = "acc_dev_kit"
ACCOUNT = """
[[auth.dev_users]]
id = "kit"
name = "ada"
email = "ada@example.org"
role = "admin"
password_hash = "$argon2id$v=19$m=8,t=1,p=1$eKctM/vYm9eAVLybqFdCRw$2qeHahIXnl4jcle8bIstu7xIkRHt3VBAlyYo3amm9L4"
"""
"""Of `stack.NAME` with `stack.PASSWORD`. A hash of full strength takes a quarter of a second, at each start."""
MODEL = """
[eavs.providers.scripted]
kind = "openai-compatible"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "env:SCRIPTED_KEY"
models = ["fake-1"]
[eavs.providers.scripted.prices.fake-1]
input = 1.0
output = 2.0
"""
SIGNED_IN_S = 24 * 3600
OWN = "builtin"
"""The runner's own entry point: always loaded."""


def installed_plugins() -> tuple[str, ...]:
    """The names of everything that is installed here, alphabetical."""
    names = {entry.name for group in GROUPS for entry in entry_points(group=group)}
    return tuple(sorted(names - {OWN}))


class Oqto(Stack):
    """
    A server whose runner knows agents that misbehave. `model` is the scripted provider of `eavs`, when that is loaded.

    Without the plugin `sandbox`, or without bubblewrap on this machine, agents run unconfined.
    """

    model: ScriptedProvider

    def __init__(self, root: Path, plugins: tuple[str, ...], settings: Mapping[str, Any]) -> None:
        self._model_port = free_port()
        self.is_confined = "sandbox" in plugins and shutil.which("bwrap") is not None
        loaded = plugins if self.is_confined else tuple(name for name in plugins if name != "sandbox")
        super().__init__(
            root, plugins=loaded or (OWN,), env=_environment(root, self._model_port, plugins), **settings
        )
        self._loaded = loaded
        self._runner: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the runner, the server, which adopts it, and the model."""
        self._start_runner()
        try:
            self.spawn()
            self._start_model()
            self.until_open()
        except BaseException:  # Ctrl-C too: `__exit__` does not run for what was never entered
            self._end_others()
            raise

    def _start_model(self) -> None:
        from oqto_platform.testing.llm import ScriptedProvider

        self.model = ScriptedProvider(port=self._model_port)
        self.model.__enter__()

    def _start_runner(self) -> None:
        folder = private_dir(self.state_dir / "runner")
        with (folder / "runner.log").open("ab") as log:
            self._runner = subprocess.Popen(
                self._runner_command(folder), env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd="/", start_new_session=True,
            )  # fmt: skip

    def _runner_command(self, folder: Path) -> list[str]:
        argv = [sys.executable, "-I", "-m", "oqto_runner.testing"]
        argv += [] if self.is_confined else ["--unconfined"]
        argv += ["--socket", str(folder / "oqto-runner.sock"), "--state-dir", str(folder)]
        return [
            *argv,
            "--config",
            self.env["OQTO_CONFIG"],
            *(word for name in (*self._loaded, OWN) for word in ("--only-plugin", name)),
        ]

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, exc, trace)
        self._end_others()

    def _end_others(self) -> None:
        if "model" in vars(self):
            self.model.__exit__()
            del self.model
        if self._runner is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._runner.pid, signal.SIGKILL)
            self._runner.wait()
            self._runner = None

    def set_up(self) -> None:
        """
        Have the client signed in as the admin, whatever a plugin thinks of sign-ins.

        With `auth.dev_mode = false` the account of the configuration is none: the first one is made as a person does it.
        """
        secret = self.state_dir / "jwt-secret"
        if secret.exists():
            self.client.cookies.set("oqto", _token(secret.read_text()))
        elif self.client.get("/api/auth/state").json()["setup_required"]:
            super().set_up()
        else:
            self.sign_in()

    def new_client(self) -> httpx.Client:
        """A client of its own, signed in as the admin."""
        client = self.unsigned_client()
        client.headers["cookie"] = self.cookie()
        return client

    @contextmanager
    def session(self, harness: str = "echo", **fields: Any) -> Iterator[SessionUnderTest]:
        """A session in the workspace; raises what the server says when it does not start."""
        from oqto_platform.testing.under_test import SessionUnderTest

        started = SessionUnderTest(self, self.begin(harness=harness, **fields))
        try:
            yield started
        finally:
            started.stop()

    def begin(self, **fields: Any) -> dict[str, Any]:
        """`POST /api/sessions`; a problem is raised as the error that it is, such as `Refusal`."""
        response = self.client.post("/api/sessions", json={"workspace": str(self.workspace), **fields})
        if response.is_error:
            from oqto_platform.testing.under_test import problem_of

            raise problem_of(response)
        view: dict[str, Any] = response.json()
        return view


@contextmanager
def running(root: Path, plugins: tuple[str, ...] | None, settings: Mapping[str, Any]) -> Iterator[Oqto]:
    """A server with its first account and a signed-in client, ended at the end."""
    with Oqto(root, plugins or installed_plugins(), settings) as oqto:
        oqto.set_up()
        yield oqto


def _token(secret: str) -> str:
    """What the server itself would put into the cookie."""
    from oqto_platform.auth.claims import Claims, sign
    from oqto_platform.settings import Secret

    at = time.time()
    return sign(Claims(ACCOUNT_ID, secrets.token_urlsafe(16), 0, at, at + SIGNED_IN_S), Secret(secret))


def _environment(root: Path, model_port: int, plugins: tuple[str, ...]) -> dict[str, str]:
    """A config.toml with the account and, for the plugin that knows providers, the scripted one with prices."""
    path = root / "config.toml"
    path.write_text(ACCOUNT + (MODEL.format(port=model_port) if "eavs" in plugins else ""))
    return {"OQTO_CONFIG": str(path), "SCRIPTED_KEY": "sk-scripted"}
