"""A server with ``--otel``, and an SDK of OpenTelemetry that keeps what it has been told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Sum
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.helpers.serving import Site, serving
from trioserve._types import AnyApp

__all__ = ["SPAN_ID", "TRACE_ID", "Exported", "Sold", "observed"]

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Sold(Exception):
    """An error of an application's own."""


class Exported:
    """What an SDK has been told."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    @property
    def span(self) -> ReadableSpan:
        [span] = self.spans
        return span

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        found = [
            metric.data for resource in (data.resource_metrics if data is not None else [])
            for scope in resource.scope_metrics for metric in scope.metrics if metric.name == name]
        assert all(isinstance(data, (Histogram, Sum)) for data in found)
        return [point for data in found for point in data.data_points]


@asynccontextmanager
async def observed(app: AnyApp, **options: Any) -> AsyncIterator[Site]:
    async with serving(app, otel=True, **options) as site:
        yield site
