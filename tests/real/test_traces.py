"""A server that is told where to sends its traces there, by the library's own protocol; and no secret with them."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from oqto_platform.testing.stack import NAME, PASSWORD, Stack

pytestmark = pytest.mark.real


class Collector(BaseHTTPRequestHandler):
    bodies: list[bytes] = []  # noqa: RUF012

    def do_POST(self):
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_requests_hooks_and_calls_of_the_runner_are_traced(collector, tmp_path):
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
    with Stack(tmp_path, plugins=("sandbox",), env=env) as stack:
        stack.set_up()
        stack.sign_in()
        cookie = stack.cookie()
        stack.client.get(f"/api/workspaces/browse?path={stack.workspace}").raise_for_status()
        stack.stop()
    sent = b"".join(Collector.bodies)
    for name in (
        b"POST /api/auth/login",
        b"hook authenticate",
        b"GET /api/workspaces/browse",
        b"runner workspace.browse",
    ):
        assert name in sent
    for secret in (PASSWORD, NAME, cookie.partition("=")[2], str(stack.workspace)):
        assert secret.encode() not in sent
