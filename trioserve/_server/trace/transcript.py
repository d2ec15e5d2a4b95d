"""Indented lines of the log, under headings that are written again when another one came in between."""

import logging

from trioserve._complaints import complain

__all__ = ["Transcript"]


class Transcript:
    """What is said about several things at a time, each under its own heading."""

    def __init__(self, log: logging.Logger, level: int) -> None:
        self._log = log
        self._level = level
        self._heading = ""

    def write(self, heading: str, text: str, depth: int, request_id: str | None) -> None:
        extra = {"request_id": request_id} if request_id is not None else None
        if heading != self._heading:
            self._heading = heading
            complain(self._log, "%s", heading, level=self._level)
        complain(self._log, "%s%s", "  " * depth, text, level=self._level, extra=extra)
