"""Which engine reads the request heads of HTTP/1.1, and which one speaks HTTP/2."""

from typing import TYPE_CHECKING, Literal

from trioserve._config import Config
from trioserve._errors import ConfigError
from trioserve._protocol import ParseFields

if TYPE_CHECKING:
    from trioserve._protocol.http2.engine import NewEngine

__all__ = ["choose_engine", "choose_http2_engine", "protocols"]


def choose_engine(http: Literal["auto", "h11", "httptools"]) -> tuple[str, ParseFields]:
    """The engine's name and its function. Only the chosen library is imported.

    Raises:
        ConfigError: ``httptools`` was asked for and is not installed.
    """
    if http != "h11":
        try:
            from trioserve._protocol.http1 import head_httptools
        except ImportError:
            if http == "httptools":
                raise ConfigError(
                    "http", "httptools is not installed; install trioserve[standard], or choose h11"
                ) from None
        else:
            return "httptools", head_httptools.parse_fields
    from trioserve._protocol.http1 import head_h11

    return "h11", head_h11.parse_fields


def choose_http2_engine(config: Config) -> "NewEngine | None":
    """``None`` when HTTP/2 is switched off, or wanted only if there is an engine, and there is none.

    Raises:
        ConfigError: the engine, or HTTP/2 itself, was asked for and is not installed.
    """
    if config.http2 is False:
        return None
    if config.http2_engine != "h2":
        try:
            from trioserve._protocol.http2.engine_ngh2 import Ngh2Engine
        except ImportError:
            if config.http2_engine == "ngh2":
                raise ConfigError(
                    "http2_engine", "ngh2 is not installed; install trioserve[http2], or choose h2") from None
        else:
            return Ngh2Engine
    try:
        from trioserve._protocol.http2.engine_h2 import H2Engine
    except ImportError:
        if config.http2_engine == "h2":
            raise ConfigError("http2_engine", "h2 is not installed; install trioserve[http2]") from None
        if config.http2:
            raise ConfigError("http2", "no engine is installed; install trioserve[http2]") from None
        return None
    return H2Engine


def protocols(config: Config) -> tuple[str, ...]:
    """What is offered by ALPN, the best first (RFC 7301). Raises ConfigError."""
    return ("http/1.1",) if choose_http2_engine(config) is None else ("h2", "http/1.1")
