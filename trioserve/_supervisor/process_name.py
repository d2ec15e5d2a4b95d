"""How processes are called in the lists of ``ps`` and ``top``, which otherwise show the command line."""

from typing import Literal

from trioserve._config import Config
from trioserve._errors import ConfigError

__all__ = ["show_name"]


def show_name(config: Config, role: Literal["", "supervisor", "worker"] = "") -> None:
    """Call this process by the configured name; one of several processes adds its role.

    Raises:
        ConfigError: a name is configured, and setproctitle is not installed.
    """
    if config.process_name is None:
        return
    try:
        from setproctitle import setproctitle
    except ImportError:
        raise ConfigError(
            "process_name", "setproctitle is not installed; install trioserve[process-name]") from None
    given = config.process_name.encode("utf-8", "surrogateescape")  # a command line can have bytes that are no UTF-8
    name = given.decode("utf-8", "replace")
    setproctitle(f"{name}: {role}" if role else name)
