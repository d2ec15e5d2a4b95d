"""``--otel`` needs a package and an SDK; without the option nothing comes between server and application."""

import logging

import pytest
from opentelemetry import trace

from tests.helpers.apps import hello
from tests.helpers.telemetry import observed
from tests.helpers.transcripts import get
from trioserve import Config, ConfigError
from trioserve._server import Server


async def test_without_an_sdk_the_log_says_that_nobody_hears(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    with caplog.at_level(logging.WARNING, "trioserve"):
        async with observed(hello) as site:
            assert (await site.answer_to(get())).startswith(b"HTTP/1.1 200 ")
    assert ["OpenTelemetry has not been set up" in line for line in caplog.messages] == [True]


async def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "trioserve._server.telemetry", None)
    with pytest.raises(ConfigError) as error:
        Server(hello, Config(otel=True))
    assert (error.value.option, error.value.problem) == (
        "otel", "opentelemetry is not installed; install trioserve[otel]")


async def test_without_the_option_the_application_is_called_directly() -> None:
    assert Server(hello, Config())._app is hello
