"""One line for each response, at the price of a line.

A log record for each request costs as much as the request. When nobody but our own handler listens, lines are made
directly and written in batches; every other configuration gets ordinary log records.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import anyio

from trioserve._connection import Exchange

__all__ = ["AccessLogger"]

BATCH_SECONDS: Final = 0.05  # a person does not see the delay; a busy server writes 20 times a second
CLIENT_GONE: Final = 499  # nginx's status for a client that left before it got an answer

_PHRASES: Final = {int(status): status.phrase for status in HTTPStatus} | {CLIENT_GONE: "Client Closed Request"}


class AccessLogger:
    """Callable for each finished exchange; ``run`` is a task for the server's nursery."""

    def __init__(self) -> None:
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
        line = access_line(exchange, seconds)
        if self._write_lines is None:
            self._logger.info("%s", line)
            return
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


def access_line(exchange: Exchange, seconds: float) -> str:
    """``127.0.0.1:53412 - "GET / HTTP/1.1" 200 OK 13 B 0.8 ms``."""
    head, response = exchange.head, exchange.response
    peer = exchange.connection.stream.peer
    client = f"{peer[0]}:{peer[1]}" if peer is not None else "-"
    status = exchange.final_status or CLIENT_GONE
    return (
        f'{client} - "{head.method} {head.target.decode("latin-1")} HTTP/{head.meaning.http_version}" '
        f"{status} {_PHRASES.get(status, '')} {response.body_bytes} B {seconds * 1000:.1f} ms"
    )
