"""One line for each response, and one for the end of each WebSocket, at the price of a line.

A log record for each request costs as much as the request. When nobody but our own handler listens, lines are made
directly and written in batches; every other configuration gets ordinary log records, with the same fields.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio

from trioserve._config import Config
from trioserve._connection import Exchange, Refused
from trioserve._server.access_format import (
    access_fields,
    close_fields,
    close_line,
    compile_format,
    json_close_line,
    json_format,
)
from trioserve._server.access_refused import json_refused_line, refused_fields, refused_line

if TYPE_CHECKING:
    from trioserve._connection.websocket import WebSocket

__all__ = ["AccessLogger"]

BATCH_SECONDS: Final = 0.05  # a person does not see the delay; a busy server writes 20 times a second


class AccessLogger:
    """Callable for each finished exchange; ``run`` is a task for the server's nursery.

    Raises:
        ConfigError: the format has something in it that is no atom.
    """

    def __init__(self, config: Config) -> None:
        self._message = compile_format(config.access_log_format)
        self._format = config.access_log_format
        self._is_json = config.log_format == "json"
        self._line = json_format(self._format) if self._is_json else self._message
        self._close_line = json_close_line if self._is_json else close_line
        self._logger = logging.getLogger("trioserve.access")
        self._write_lines: Callable[[list[str]], None] | None = None
        if len(self._logger.handlers) == 1 and not self._logger.propagate and not self._logger.filters:
            self._write_lines = getattr(self._logger.handlers[0], "write_lines", None)
        self._lines: list[str] = []
        self._pending = anyio.Event()

    @property
    def enabled(self) -> bool:
        return self._logger.isEnabledFor(logging.INFO)

    def __call__(self, exchange: Exchange, seconds: float) -> None:
        if self._write_lines is None:
            self._logger.info("%s", self._message(exchange, seconds), extra=access_fields(exchange, seconds))
        else:
            self._collect(self._line(exchange, seconds))

    def websocket_closed(self, websocket: "WebSocket", seconds: float) -> None:
        if self._write_lines is None:
            self._logger.info("%s", close_line(websocket, seconds), extra=close_fields(websocket, seconds))
        else:
            self._collect(self._close_line(websocket, seconds))

    def refused(self, refused: Refused) -> None:
        if self._write_lines is None:
            self._logger.info("%s", refused_line(self._format, refused), extra=refused_fields(refused))
        else:
            self._collect((json_refused_line if self._is_json else refused_line)(self._format, refused))

    def _collect(self, line: str) -> None:
        if not self._lines:
            self._pending.set()
        self._lines.append(line)

    async def run(self) -> None:
        """Write what has collected, until cancelled; nothing is lost then."""
        try:
            while True:
                await self._pending.wait()
                await anyio.sleep(BATCH_SECONDS)
                self._flush()
        finally:
            self._flush()

    def _flush(self) -> None:
        self._pending = anyio.Event()
        lines, self._lines = self._lines, []
        if lines and self._write_lines is not None:
            self._write_lines(lines)
