"""A server in this process with Alice (an admin), Bob and Mallory; and a real one that ran a whole session."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from litestar.exceptions import LitestarDeprecationWarning
from litestar.testing import TestClient

HOST = "127.0.0.1"
PASSWORD = "correct horse battery"


@dataclass
class Town:
    """The application with its people. `client` has no cookie; `as_(name)` gives the headers of a signed-in one."""

    app: Any
    client: TestClient[Any]
    folder: Path
    cookies: dict[str, str] = field(default_factory=dict)
    session_of_bob: str = ""

    def run(self, function, *arguments, **named):
        """Call an async function of the application in its own loop."""
        import functools

        return self.client.blocking_portal.call(functools.partial(function, *arguments, **named))

    @property
    def services(self):
        return self.app.state.services

    def as_(self, name: str) -> dict[str, str]:
        return {"cookie": f"oqto={self.cookies[name]}"} if name else {}

    def ask(self, method: str, path: str, who: str = "", **options):
        headers = self.as_(who) | options.pop("headers", {})
        self.client.cookies.clear()
        answer = self.client.request(method, path, headers=headers, follow_redirects=False, **options)
        self.client.cookies.clear()
        return answer


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town")
    env = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "OQTO_PLUGINS": "eavs",
        "OQTO__EAVS__ENABLED": "false",
        "OQTO__RUNTIME__FAIL_FAST": "false",  # there is no runner
        "OQTO__PATHS__DATA_DIR": str(folder / "data"),
        "OQTO__PATHS__STATE_DIR": str(folder / "state"),
        "OQTO__SERVER__ADMIN_SOCKET_PATH": "",
        "OQTO__SERVER__MAX_UPLOAD_SIZE_MB": "1",
        "OQTO__LOCAL__RUNNER_SOCKET_PATTERN": str(folder / "none.sock"),
    }
    before = structlog.get_config()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("OQTO", "XDG"))]:
            if name != "OQTO_TEST_PROCESS":
                patch.delenv(name)
        patch.setenv("HOME", str(folder))
        patch.setenv("OQTO_PLUGINS", "none")
        from oqto_platform.app import build
        from oqto_platform.house import House

        with warnings.catch_warnings():
            # a plugin may be written in Litestar's older style
            warnings.simplefilter("ignore", LitestarDeprecationWarning)
            app = build(House(env))
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
        with TestClient(app, base_url=f"http://{HOST}") as client:
            client.get("/api/me")  # answered once all is open
            yield people(Town(app, client, folder))
    structlog.configure(**before)


def people(town: Town) -> Town:
    from oqto_platform.sessions.store import Store
    from oqto_platform.types import Session, SessionId

    for name, role in (("alice", "admin"), ("bob", "user"), ("mallory", "user")):
        account = town.run(town.services.accounts.create, name, PASSWORD, role)
        answer = town.ask("POST", "/api/auth/login", json={"name": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        town.cookies[name] = answer.cookies["oqto"]
        if name == "bob":
            session = Session(id=SessionId("ses_of_bob"), account_id=account.id, workspace="/home/bob/secret")
            town.run(Store(town.services.db).add, session, limit=9)
            town.session_of_bob = session.id
    return town
