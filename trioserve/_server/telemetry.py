"""OpenTelemetry: a span for each request and WebSocket that the application is called for, and two metrics.

The application is wrapped once, so that the span is current in it. Its end is heard of as the access log hears of it,
so both say the same. Imported only with ``--otel``: nobody else pays for it.
"""

import logging
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import metrics, propagate, trace
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import SpanKind, Status, StatusCode

from trioserve._asgi import COMPLETE
from trioserve._connection import Answered, ClosedWebSocket, RecordedRequest, Refused, own_span
from trioserve._errors import application_errors
from trioserve._server.http_attributes import (
    BUCKETS,
    Attributes,
    KnownMethods,
    error_of_close_code,
    peer_attributes,
    request_attributes,
    span_name,
)
from trioserve._types import App, Fields, Receive, Scope, Send
from trioserve._version import __version__

__all__ = ["Telemetry", "is_instrumented"]

SCHEMA: Final = "https://opentelemetry.io/schemas/1.38.0"
CLIENT_LEFT: Final = "client-disconnect"
INCOMPLETE: Final = "incomplete-response"

log = logging.getLogger("trioserve")


class Call:
    """One call of the application.

    Attributes:
        span: of the request.
        context: OpenTelemetry's, in which the span is current.
        attributes: those that metrics have.
        error: the class of what the application has raised; empty if nothing.
    """

    __slots__ = ("attributes", "context", "error", "span")

    def __init__(self, span: trace.Span, context: otel_context.Context, attributes: Attributes) -> None:
        self.span = span
        self.context = context
        self.attributes = attributes
        self.error = ""

    def raised(self, exc: Exception) -> None:
        error = application_errors(exc, client_left=True)
        if error is not None and self.span.is_recording():
            self.error = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
            self.span.record_exception(error)

    def end(self, error: str, attributes: Attributes) -> None:
        if error:
            attributes["error.type"] = error
            self.span.set_status(Status(StatusCode.ERROR))
        self.span.set_attributes(attributes)
        self.span.end()


_call: ContextVar[Call] = ContextVar("trioserve.telemetry")  # of each request's own context


class Telemetry:
    """Of one server: wraps the application, and is a recorder. It ``counts`` unless the application does so itself."""

    needs_context = False

    def __init__(self, app: App, *, counts: bool) -> None:
        self._app = app
        self._known_methods = KnownMethods.of()
        self._tracer = trace.get_tracer("trioserve", __version__, schema_url=SCHEMA)
        self._metrics = RequestMetrics() if counts else None
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            log.warning("OpenTelemetry has not been set up, so --otel has no effect: set it up in the application's "
                        "module, or start with opentelemetry-instrument")

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, for a request, with a span that is current in all that it does."""
        call = self._begin(scope)
        try:
            await self._app(scope, receive, send)
        except Exception as exc:
            call.raised(exc)
            raise

    def _begin(self, scope: Scope) -> Call:
        common, more = request_attributes(scope, self._known_methods)
        parent = propagate.extract(scope["headers"], getter=FIELDS)
        span = self._tracer.start_span(span_name(common), parent, SpanKind.SERVER, {**common, **more})
        call = Call(span, trace.set_span_in_context(span, parent), common)
        otel_context.attach(call.context)  # for good: each request has context variables of its own
        _name_as_parent(scope, call.context)
        _call.set(call)
        ids = span.get_span_context()
        if ids.is_valid:
            own_span.set((trace.format_trace_id(ids.trace_id), trace.format_span_id(ids.span_id)))
        if self._metrics is not None:
            self._metrics.begin(call)
        return call

    # What a recorder hears.

    def answered(self, answered: Answered, seconds: float) -> None:
        call = _call_of(answered)
        if call is None:
            return
        status = answered.final_status
        outcome: Attributes = {"http.response.status_code": status} if status else {}
        error = call.error or _error_of(answered)
        if self._metrics is not None:
            self._metrics.end(call, seconds, outcome | ({"error.type": error} if error else {}))
        of_span = outcome | peer_attributes(answered.peer)
        if answered.is_open:
            call.span.set_attributes(of_span)
        else:
            call.end(error, of_span)

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        if (call := _call_of(websocket)) is not None:
            code = websocket.session.close_code
            call.end(call.error or error_of_close_code(code), {"trioserve.websocket.close_code": code})

    def refused(self, refused: Refused) -> None:
        """A head that cannot be read: it is no request yet."""

    def ended_early(self, request: RecordedRequest, reason: str, seconds: float) -> None:
        """``answered`` tells the reason, too."""


class RequestMetrics:
    """The metrics of HTTP servers."""

    def __init__(self) -> None:
        meter = metrics.get_meter("trioserve", __version__, schema_url=SCHEMA)
        self._duration = meter.create_histogram(
            "http.server.request.duration", "s", "Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=BUCKETS)
        self._active = meter.create_up_down_counter(
            "http.server.active_requests", "{request}", "Number of active HTTP server requests.")

    def begin(self, call: Call) -> None:
        self._active.add(1, _of_active(call))

    def end(self, call: Call, seconds: float, outcome: Attributes) -> None:
        self._active.add(-1, _of_active(call))
        self._duration.record(seconds, call.attributes | outcome, call.context)


def _of_active(call: Call) -> Attributes:
    return {name: call.attributes[name] for name in ("http.request.method", "url.scheme")}


def _name_as_parent(scope: Scope, context: otel_context.Context) -> None:
    """Let the fields name the span, as after any other hop: who makes a span from them makes a child of it.

    FastAPI and Starlette do so, although a span is current.
    """
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    fields = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in carrier.items()}
    if fields:
        scope["headers"] = [field for field in scope["headers"] if field[0] not in fields] + list(fields.items())


def is_instrumented(app: Any) -> bool:
    """The application has OpenTelemetry's own middleware, or one of the libraries has put it there, or is FastAPI.

    Then it counts requests itself, and knows their routes. Only what wraps the application is seen, not what it mounts.
    """
    while app is not None:
        if type(app).__module__.startswith("opentelemetry.") or getattr(app, "_is_instrumented_by_opentelemetry", None):
            return True
        telemetry = getattr(app, "_telemetry", None)  # of FastAPI, which counts by itself from some version on
        if isinstance(telemetry, dict) and telemetry.get("metrics"):
            return True
        app = getattr(app, "app", None) or getattr(app, "__wrapped__", None)
    return False


def _call_of(record: Answered | ClosedWebSocket) -> Call | None:
    """``None`` where the server has answered itself, before the application was called."""
    return record.context.get(_call) if record.context is not None else None


def _error_of(answered: Answered) -> str:
    """Why the request is an error, if it is one: a word for each reason, or the status."""
    if answered.end_reason:
        return answered.end_reason
    status = answered.final_status
    if not status:
        return CLIENT_LEFT
    if status >= 500:
        return str(status)
    if answered.response.state == COMPLETE or answered.is_open:
        return ""
    return CLIENT_LEFT if answered.client_left else INCOMPLETE


class FieldGetter(Getter[Fields]):
    """Header fields, for OpenTelemetry's propagators."""

    def get(self, carrier: Fields, key: str) -> list[str] | None:
        wanted = key.lower().encode("latin-1")
        return [value.decode("latin-1") for name, value in carrier if name == wanted] or None

    def keys(self, carrier: Fields) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier]


FIELDS: Final = FieldGetter()
