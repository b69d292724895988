"""Traces: nothing at all unless they are asked for, and then each piece beneath what it is a part of."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from oqto_platform import tracing
from oqto_platform.errors import ConfigError, Conflict


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter.get_finished_spans
    tracing.use(None)


def test_nothing_is_imported_while_nobody_asks():
    program = (
        "from oqto_platform import tracing\n"
        "tracing.start({}, '1'); tracing.start({'OTEL_EXPORTER_OTLP_ENDPOINT': 'x', 'OTEL_SDK_DISABLED': 'true'}, '1')\n"
        "with tracing.span('x') as one, tracing.request_span('GET', []) as two: assert one is None and two is None\n"
        "tracing.answered(None, 'GET', '/', 200); tracing.stop()\n"
        "import sys; assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"pip install 'oqto-platform\[otel\]'"):
        tracing.start({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "1")


def test_spans_lie_in_one_another(spans):
    with tracing.request_span("GET", []) as request:
        with tracing.span("hook authenticate", oqto_plugin="builtin"):
            pass
        tracing.answered(request, "GET", "/api/sessions/{session_id}", 200)
    inner, outer = spans()
    assert inner.parent.span_id == outer.context.span_id
    assert (inner.name, outer.name) == ("hook authenticate", "GET /api/sessions/{session_id}")
    assert inner.attributes == {"oqto.plugin": "builtin"}
    assert outer.attributes["http.response.status_code"] == 200


def test_an_error_is_noted_on_its_span(spans):
    with pytest.raises(Conflict), tracing.span("runner session.start"):
        raise Conflict("no")
    (one,) = spans()
    assert one.status.is_ok is False
    assert one.events[0].name == "exception"


def test_the_trace_of_a_caller_goes_on(spans):
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with tracing.request_span("POST", [(b"traceparent", caller.encode()), (b"cookie", b"secret")]) as request:
        tracing.answered(request, "POST", "/api/sessions", 503)
    (one,) = spans()
    assert f"{one.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert one.status.is_ok is False
    assert "secret" not in one.to_json()
