"""An ASGI server on structured concurrency.

``run`` serves an application until a signal stops it; ``serve`` is one more task in a trio or asyncio program. Both
take the fields of ``Config`` as keywords.
"""

from trioserve._errors import (
    AppLoadFailed,
    AppNotFound,
    BindFailed,
    ClientDisconnected,
    ConfigError,
    LifespanDied,
    StartupFailed,
    TaskCrashed,
    TrioserveError,
)
from trioserve._version import __version__

TYPE_CHECKING = False  # a type checker takes it for True; importing typing would be half of the cost of this module
__all__ = [
    "AppLoadFailed",
    "AppNotFound",
    "BindFailed",
    "ClientDisconnected",
    "Config",
    "ConfigError",
    "LifespanDied",
    "StartupFailed",
    "TaskCrashed",
    "TrioserveError",
    "__version__",
    "run",
    "serve",
]

_LAZY = {"Config": "trioserve._config", "run": "trioserve._supervisor.run", "serve": "trioserve._server"}


if TYPE_CHECKING:
    from trioserve._config import Config
    from trioserve._server import serve
    from trioserve._supervisor.run import run
else:

    def __getattr__(name: str) -> object:
        """Import what costs something when it is first used; who only catches our errors needs none of it."""
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_LAZY[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted(globals().keys() | _LAZY.keys())
