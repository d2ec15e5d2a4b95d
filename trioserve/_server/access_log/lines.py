"""One line for each response, and one for the end of each WebSocket, at the price of a line.

A log record for each request costs as much as the request. When nobody but our own handler listens, lines are made
directly and written in batches; every other configuration gets ordinary log records, with the same fields.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

import anyio

from trioserve._complaints import complain
from trioserve._config import Config
from trioserve._connection import Refused
from trioserve._connection.records import Answered, ClosedWebSocket
from trioserve._protocol import RequestHead
from trioserve._server.access_log.format import (
    access_fields,
    close_fields,
    close_line,
    compile_format,
    json_close_line,
    json_format,
)
from trioserve._server.access_log.refused import json_refused_line, refused_fields, refused_line

__all__ = ["AccessLogger"]

log = logging.getLogger("trioserve")

BATCH_SECONDS: Final = 0.05  # a person does not see the delay; a busy server writes 20 times a second


class AccessLogger:
    """A recorder; ``run`` is a task for the server's nursery.

    Attributes:
        needs_context: lines are ordinary log records, which filters of the application's may look at.

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
        self._write_lines = _writer_of(self._logger)
        self.needs_context = self._write_lines is None
        self._lines: list[str] = []
        self._pending = anyio.Event()

    @property
    def enabled(self) -> bool:
        return self._logger.isEnabledFor(logging.INFO)

    def answered(self, answered: Answered, seconds: float) -> None:
        if self._write_lines is None:
            self._record(self._message(answered, seconds), access_fields(answered, seconds))
        else:
            self._collect(self._line(answered, seconds))

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        if self._write_lines is None:
            self._record(close_line(websocket, seconds), close_fields(websocket, seconds))
        else:
            self._collect(self._close_line(websocket, seconds))

    def refused(self, refused: Refused) -> None:
        if self._write_lines is None:
            self._record(refused_line(self._format, refused), refused_fields(refused))
        else:
            self._collect((json_refused_line if self._is_json else refused_line)(self._format, refused))

    def ended_early(self, head: RequestHead, reason: str, seconds: float) -> None:
        """The server's own log says it; the access line has the reason."""

    def _record(self, line: str, fields: dict[str, Any]) -> None:
        complain(self._logger, "%s", line, level=logging.INFO, extra=fields)

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
            try:
                self._write_lines(lines)
            except Exception as exc:  # of a handler that is not ours; the lines may be out, so they are not kept
                complain(log, "Access lines could not be written", exc_info=exc)


def _writer_of(logger: logging.Logger) -> Callable[[list[str]], None] | None:
    """What takes lines for the one handler that listens; ``None`` if there are others, or if a record is looked at."""
    if len(logger.handlers) != 1 or logger.propagate or logger.filters:
        return None
    handler = logger.handlers[0]
    if handler.filters or handler.level > logging.INFO:
        return None
    writer: Callable[[list[str]], None] | None = getattr(handler, "write_lines", None)
    return writer
