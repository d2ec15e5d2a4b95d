"""What some options mean besides themselves."""

from collections.abc import Mapping
from typing import Any, Final

from trioserve._config.values import switch_of

__all__ = ["implied"]

BLOCKED_SECONDS: Final = 0.1  # that an event loop may stand still in development: so long a person notices


def implied(given: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """What is meant besides what was given: each option with its value and the option that implies it."""
    meant: dict[str, tuple[Any, str]] = {}
    if given.get("loop") not in (None, "auto") and given.get("backend") is None:
        meant["backend"] = ("asyncio", "loop")
    reload = given.get("reload")
    if "warn_blocked" not in given and (switch_of(reload) if isinstance(reload, str) else reload) is True:
        meant["warn_blocked"] = (BLOCKED_SECONDS, "reload")
    return meant
