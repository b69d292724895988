"""
OpenTelemetry traces, for who has configured them; without that, a span is nothing and nothing is imported.

The SDK's own variables configure it: `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) says where to,
`OTEL_SERVICE_NAME`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER` and the rest mean what they always do.
A span carries routes, hooks and ids; never words of a conversation, paths or headers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from oqto_platform.errors import ConfigError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
STOP_S = 3.0
"""A collector that is away must not hold up the end of the server."""

NOTHING: AbstractContextManager[None] = nullcontext()


class _State:
    """What `start` or `use` left for this process."""

    tracer: Any = None
    provider: Any = None


def start(env: Mapping[str, str], version: str) -> None:
    """Begin to trace when an endpoint is configured. Raises `ConfigError` when the extra is not installed."""
    is_off = env.get("OTEL_SDK_DISABLED", "").lower() == "true" or env.get("OTEL_TRACES_EXPORTER") == "none"
    endpoint = next((name for name in ENDPOINTS if env.get(name)), "")
    if is_off or not endpoint or _State.tracer is not None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as exc:
        raise ConfigError(
            f"{endpoint} asks for traces, which need an extra: pip install 'oqto-platform[otel]'; "
            "or unset the variable"
        ) from exc
    name = env.get("OTEL_SERVICE_NAME") or "oqto"
    provider = TracerProvider(resource=Resource.create({"service.name": name, "service.version": version}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use(provider)


def use(provider: Any) -> None:
    """Trace with this `TracerProvider`; `None`: not any more."""
    _State.provider = provider
    _State.tracer = provider.get_tracer("oqto") if provider is not None else None


def stop() -> None:
    """Send what waits, for `STOP_S` at most, and trace no more."""
    if _State.provider is not None:
        sending = threading.Thread(target=_State.provider.shutdown, daemon=True)
        sending.start()
        sending.join(STOP_S)
    use(None)


def span(name: str, **attributes: str) -> AbstractContextManager[Any]:
    """
    A span around a block, beneath the one that surrounds it; an error that leaves the block is noted.

    Yields the span, or `None` while nobody traces. A name of an attribute has `_` where OpenTelemetry's has dots.
    """
    if _State.tracer is None:
        return NOTHING
    found = {key.replace("_", "."): value for key, value in attributes.items()}
    entered: AbstractContextManager[Any] = _State.tracer.start_as_current_span(name, attributes=found)
    return entered


def request_span(method: str, headers: Iterable[tuple[bytes, bytes]]) -> AbstractContextManager[Any]:
    """The span of a request, beneath that of the caller where it sends `traceparent` (W3C Trace Context)."""
    if _State.tracer is None:
        return NOTHING
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind

    carrier = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in headers
        if name in (b"traceparent", b"tracestate")
    }
    entered: AbstractContextManager[Any] = _State.tracer.start_as_current_span(
        method, context=extract(carrier), kind=SpanKind.SERVER, attributes={"http.request.method": method}
    )
    return entered


def answered(span_of_request: Any, method: str, route: str, status: int) -> None:
    """What is known of a request once it is answered."""
    if span_of_request is None:
        return
    from opentelemetry.trace import StatusCode

    span_of_request.update_name(f"{method} {route}")
    span_of_request.set_attributes({"http.route": route, "http.response.status_code": status})
    if status >= 500:  # noqa: PLR2004 (a server error)
        span_of_request.set_status(StatusCode.ERROR)
