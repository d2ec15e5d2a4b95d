"""Which engine reads request heads."""

from typing import Literal

from trioserve._errors import ConfigError
from trioserve._protocol import ParseFields

__all__ = ["choose_engine"]


def choose_engine(http: Literal["auto", "h11", "httptools"]) -> tuple[str, ParseFields]:
    """The engine's name and its function. Only the chosen library is imported.

    Raises:
        ConfigError: ``httptools`` was asked for and is not installed.
    """
    if http != "h11":
        try:
            from trioserve._protocol import head_httptools
        except ImportError:
            if http == "httptools":
                raise ConfigError(
                    "http", "httptools is not installed; install trioserve[standard], or choose h11"
                ) from None
        else:
            return "httptools", head_httptools.parse_fields
    from trioserve._protocol import head_h11

    return "h11", head_h11.parse_fields
