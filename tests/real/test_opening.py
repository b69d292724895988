"""A worker answers while it still opens: what it says then, and how an opening ends that never comes to its end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oqto_platform.testing.stack import Stack

GRANIAN = str(Path(sys.executable).with_name("granian"))

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("needs_bubblewrap")]


@pytest.fixture(params=["rsgi", "asgi"])
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    stack = Stack(tmp_path, plugins=("sandbox",), env={"GRANIAN_INTERFACE": request.param})
    stack.command = (GRANIAN, "oqto_platform.app", "--port", str(stack.port))
    with contextlib.ExitStack() as at_end:
        at_end.push(stack.__exit__)
        yield stack


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def test_it_answers_before_the_database_is_upgraded_and_says_that_it_is_starting(stack):
    with held(stack.data_dir / "oqto.migrating"):
        stack.spawn()
        stack.until_live()
        ready = stack.client.get("/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"status": "starting"})
        assert "<!doctype html>" in stack.client.get("/").text.lower()
        waiting = asked(stack, "/api/me")
        assert stack.client.get("/health/ready").json() == {"status": "starting"}
    assert b" 401 " in waiting.recv(64)
    waiting.close()
    assert stack.client.get("/health/ready").json() == {"status": "ok"}


def test_sigterm_gives_an_opening_up(stack):
    with held(stack.state_dir / "leader.lock"):  # so it waits for the runner of whoever leads
        stack.spawn()
        stack.until_live()
        assert stack.client.get("/health/ready").json() == {"status": "starting"}
        assert stack.stop() == 0


def test_an_opening_that_fails_ends_the_server_with_one_sentence(stack):
    with stack:
        pass
    with contextlib.closing(sqlite3.connect(stack.data_dir / "oqto.db")) as connection:
        connection.execute("update core_version set version_num = 'core9999'")
        connection.commit()
    stack.spawn()
    assert stack.process.wait(60) == 1
    assert "oqto: " in (log := stack.log.read_text())
    assert "newer than this program's" in log
    assert "Traceback" not in log


def asked(stack: Stack, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", stack.port), 60)
    connection.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
    return connection
