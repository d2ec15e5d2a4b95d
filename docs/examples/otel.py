"""An application that sets OpenTelemetry up and makes a span of its own; the spans go to standard output.

    trioserve otel:app --app-dir docs/examples --otel
"""

from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

provider = TracerProvider(resource=Resource({"service.name": "tea"}))
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))  # OTLPSpanExporter() for a collector
trace.set_tracer_provider(provider)

tracer = trace.get_tracer("tea")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    request = trace.get_current_span()  # the server's
    request.update_name("GET /tea/{kind}")
    request.set_attribute("http.route", "/tea/{kind}")
    with tracer.start_as_current_span("brew"):
        tea = scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": tea})
