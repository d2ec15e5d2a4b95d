"""Handlers that keep access lines, and a server in memory whose access log goes to them."""

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.helpers.serving import Site, serving
from trioserve._types import App

__all__ = ["BatchHandler", "PlainHandler", "access_logger", "assert_line", "logged"]

access_logger = logging.getLogger("trioserve.access")


class BatchHandler(logging.Handler):
    """Takes lines in batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    def write_lines(self, lines: list[str]) -> None:
        self.batches.append(lines)

    @property
    def lines(self) -> list[str]:
        return [line for batch in self.batches for line in batch]


class PlainHandler(logging.Handler):
    """Takes records, as any handler of the standard library."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.levelno == logging.INFO
        self.lines.append(record.getMessage())


@asynccontextmanager
async def logged(app: App, *handlers: logging.Handler, **options: Any) -> AsyncIterator[Site]:
    """Serve ``app``; its access log goes to ``handlers`` alone."""
    access_logger.handlers[:] = handlers
    access_logger.propagate = False
    access_logger.setLevel(logging.INFO)
    async with serving(app, access_log=True, **options) as site:
        yield site


def assert_line(line: str, request_line: str, status: str, size: int) -> None:
    pattern = rf'192\.0\.2\.1:50000 - "{re.escape(request_line)}" {status} {size} B \d+\.\d ms'
    assert re.fullmatch(pattern, line), line
