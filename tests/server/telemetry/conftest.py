"""What the SDK has been told in a test."""

from collections.abc import Iterator

import pytest
from opentelemetry import metrics, trace

from tests.helpers.telemetry import Exported


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exported]:
    """The providers of a process can be set once; so a test puts its own in the place of the functions."""
    sdk = Exported()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: sdk.tracer_provider)
    monkeypatch.setattr(metrics._internal, "get_meter_provider", lambda: sdk.meter_provider)
    yield sdk
    sdk.tracer_provider.shutdown()
    sdk.meter_provider.shutdown()
