"""The real proxy process and the scripted provider behind it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import httpcore
import httpx
import pytest
from oqto_plugin_eavs import control
from oqto_plugin_eavs.providers import ModelCost, Provider
from waiting import until

from oqto_platform.testing.llm import ScriptedProvider
from oqto_platform.testing.stack import free_port

REAL_KEY = "sk-canary-of-the-provider"
COST = ModelCost(input=3, output=15, cache_read=0.3, cache_write=3.75)
UNITS = {"input": 3_000, "output": 15_000, "cache_read": 300, "cache_write": 3_750}


class OneWrite(httpcore.SyncBackend):
    """Connections that send head and body of a request in one write, as Node's clients do and Python's do not."""

    def connect_tcp(self, *args, **named):
        return OneWriteStream(super().connect_tcp(*args, **named))


class OneWriteStream(httpcore.NetworkStream):
    def __init__(self, stream):
        self._stream, self._head = stream, b""
        self.read, self.close = stream.read, stream.close
        self.start_tls, self.get_extra_info = stream.start_tls, stream.get_extra_info

    def write(self, data, timeout=None):
        if not self._head and data.startswith(b"POST ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            return
        self._stream.write(self._head + data, timeout)
        self._head = b""


def client_of(url, *, sends_at_once):
    transport = httpx.HTTPTransport(trust_env=False)
    if sends_at_once:
        transport._pool = httpcore.ConnectionPool(network_backend=OneWrite())
    return httpx.Client(base_url=url, transport=transport, timeout=20)


class RunningProxy:
    """`oqto-eavs serve` as a process, in a folder of its own with short socket paths."""

    def __init__(self, folder, *options):
        self.folder, self.port, self.options = folder, free_port(), options
        self.url = f"http://127.0.0.1:{self.port}"
        self.sends_at_once = True
        """Then its calls can go the straight way; otherwise a task serves them (`express.py`)."""
        self._clients = threading.local()
        self._made = []
        self.log = folder / "log"
        self.scope = 0
        self.start()

    @property
    def client(self):
        """A client of this thread: httpx's blocking one may not be shared."""
        made = self._clients.__dict__
        if self.sends_at_once not in made:
            made[self.sends_at_once] = client_of(self.url, sends_at_once=self.sends_at_once)
            self._made.append(made[self.sends_at_once])
        return made[self.sends_at_once]

    def start(self):
        argv = [sys.executable, "-m", "oqto_plugin_eavs", "serve", "--state-dir", str(self.folder)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*argv, "--listen", f"127.0.0.1:{self.port}", *self.options],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        try:
            until(lambda: self.process.poll() is not None or self.answers())
        except AssertionError:
            self.kill()
            raise
        assert self.process.poll() is None, self.log.read_text()

    def answers(self):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.folder / "control.sock")) == 0

    def ask(self, request):
        return asyncio.run(control.ask(str(self.folder / "control.sock"), request))

    def add(self, name, kind, base_url, **fields):
        settings = {"models": ("fake-1",), "prices": {"fake-1": COST}, "api_key": REAL_KEY, **fields}
        provider = Provider(name=name, kind=kind, base_url=base_url, **settings)
        self.ask(control.SetProvider(provider=provider, probe=False))

    def name(self, word):
        """An id of this test alone."""
        return f"{word}_{self.scope}"

    def key(self, session="ses", limit_usd=10.0, rpm=0, account="acc"):
        limit = None if limit_usd is None else round(limit_usd * 1e9)
        mint = control.Mint(
            session_id=self.name(session), account_id=self.name(account), limit_nusd=limit, rpm=rpm
        )
        return self.ask(mint).key

    def settle(self, session="ses"):
        return self.ask(control.Settle(session_id=self.name(session))).spent_nusd

    def rows(self, where="1=1"):
        if self.process.poll() is None:
            self.ask(control.Report(by="model"))  # reading brings the ledger up to date
        connection = sqlite3.connect(self.folder / "ledger.db", timeout=5)
        connection.row_factory = sqlite3.Row
        query = f"SELECT * FROM calls WHERE {where} AND account = ? ORDER BY started_at"
        try:
            return [dict(row) for row in connection.execute(query, (self.name("acc"),))]
        finally:
            connection.close()

    def settled(self, count=1):
        """The rows, once `count` of them are settled."""
        until(lambda: len(self.rows("state = 'settled'")) >= count)
        return self.rows()

    def chat(self, key, text, *, provider="fake", **fields):
        body = {"model": "fake-1", "messages": [{"role": "user", "content": text}], **fields}
        headers = {"authorization": f"Bearer {key}"}
        return self.client.post(f"/p/{provider}/v1/chat/completions", headers=headers, json=body)

    def kill(self):
        self.process.kill()
        self.process.wait(5)

    def stop(self):
        for client in self._made:
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()
                raise


@pytest.fixture(scope="module")
def shared_provider():
    with ScriptedProvider() as running:
        yield running


@pytest.fixture
def provider(shared_provider):
    shared_provider.forget()
    return shared_provider


def new_proxy(*options):
    folder = Path(tempfile.mkdtemp(prefix="eavs-"))
    return RunningProxy(folder, *options)


def end(running):
    running.stop()
    shutil.rmtree(running.folder)


def add_all(running, url):
    running.add("fake", "openai-compatible", f"{url}/v1")
    running.add("claude", "anthropic", url)
    running.add("openai", "openai", f"{url}/v1")
    running.add("gemini", "google", f"{url}/v1beta")


@pytest.fixture
def own_proxy(provider):
    """A process for this test alone, which it may kill; with the providers of `proxy`."""
    running = new_proxy()
    try:
        add_all(running, provider.url)
        yield running
    finally:
        end(running)


@pytest.fixture(scope="module")
def shared_proxy(shared_provider):
    running = new_proxy()
    try:
        add_all(running, shared_provider.url)
        yield running
    finally:
        end(running)


@pytest.fixture(params=[True, False], ids=["at once", "in pieces"])
def proxy(shared_proxy, provider, request):
    """
    The proxy of this file, with sessions and accounts that are this test's own; fake, claude, openai, gemini.

    Each test is done twice, for the two ways a call may take through it.
    """
    shared_proxy.scope += 1
    shared_proxy.sends_at_once = request.param
    return shared_proxy


@pytest.fixture
def cost_of():
    """What the provider's own counts are worth, in nano-dollars."""

    def cost(tokens):
        return sum(getattr(tokens, name) * nusd for name, nusd in UNITS.items())

    return cost
