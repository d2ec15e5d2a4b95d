"""Who watches requests from around the application, when the configuration asks for it: OpenTelemetry, the teacher."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from trioserve._config import Config
from trioserve._connection import Recorder
from trioserve._errors import ConfigError
from trioserve._types import App

__all__ = ["Observed", "check_observers", "observed"]

Service: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
"""Called with the keyword ``task_status``, of which ``started`` is called when connections can come."""


@dataclass
class Observed:
    """An application, and what those who watch it need.

    Attributes:
        recorders: are told what the access log is told.
        services: tasks that run as long as there are connections.
    """

    app: App
    recorders: list[Recorder] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)


def check_observers(config: Config) -> None:
    """Raises ConfigError when a package is missing."""
    if config.otel:
        try:
            import trioserve._server.telemetry  # noqa: F401  # slow: only with the option
        except ImportError:
            raise ConfigError("otel", "opentelemetry is not installed; install trioserve[otel]") from None


def observed(app: App, config: Config) -> Observed:
    """``app`` itself, or in whatever the options put around it."""
    found = Observed(app)
    if config.otel:
        from trioserve._server.telemetry import Telemetry, is_instrumented

        telemetry = Telemetry(app, counts=not is_instrumented(app))
        found.app = telemetry.app
        found.recorders.append(telemetry)
    if config.teach:
        from trioserve._server.trace.teaching import Teacher

        teacher = Teacher(found.app, config)
        found.app = teacher.app
        found.recorders.append(teacher)
        found.services.append(teacher.run)
    return found
