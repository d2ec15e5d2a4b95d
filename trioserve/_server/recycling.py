"""When a process has served for long enough: by its age, and by the memory that it holds."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Final

import anyio
import anyio.abc

from trioserve._complaints import complain
from trioserve._config import Config
from trioserve._config.declaring import MEBIBYTE
from trioserve._errors import ConfigError

__all__ = ["check_recycling", "start_recycling"]

STATM: Final = "/proc/self/statm"  # proc(5), on Linux
LOOK_SECONDS: Final = 1.0  # between two looks at the memory; each takes some ten microseconds

log = logging.getLogger("trioserve")


def check_recycling(config: Config) -> None:
    """Raises ConfigError when the system does not say what it would have to."""
    if config.limit_max_rss is not None and not os.path.exists(STATM):
        raise ConfigError("limit_max_rss", f"this system has no {STATM}, which Linux has")


def start_recycling(config: Config, services: anyio.abc.TaskGroup, on_spent: Callable[[str], None]) -> None:
    """Begin to watch what ``config`` limits; ``on_spent`` is called with the option whose limit is reached."""
    if config.limit_max_age is not None:
        services.start_soon(_watch_age, config.limit_max_age, on_spent)
    if config.limit_max_rss is not None:
        services.start_soon(_watch_memory, config.limit_max_rss, on_spent)


async def _watch_age(seconds: float, on_spent: Callable[[str], None]) -> None:
    await anyio.sleep(seconds)
    on_spent("limit-max-age")


async def _watch_memory(limit: int, on_spent: Callable[[str], None]) -> None:
    while (held := resident_bytes()) <= limit:  # noqa: ASYNC110  # the kernel does not tell by itself
        await anyio.sleep(LOOK_SECONDS)
    complain(
        log, "This process holds %d MiB of memory, its limit is %d MiB", held // MEBIBYTE, limit // MEBIBYTE,
        level=logging.WARNING)
    on_spent("limit-max-rss")


def resident_bytes() -> int:
    """The memory of this process that is in use now, shared libraries included."""
    if sys.platform == "win32":
        raise NotImplementedError("check_recycling has said so")
    with open(STATM, encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
