"""Formatters and filters for ``--log-config``, and for programs that set logging up themselves.

The server's own lines are made with the same classes. Names and arguments of the first two are those of
``uvicorn.logging``, so that a configuration written for it needs another module and other loggers only: ``trioserve``
and ``trioserve.access``.
"""

import copy
import json
import logging
import sys
from collections.abc import Iterable
from typing import Any, ClassVar, Final, Literal, TextIO

from trioserve._colors import BLUE, BRIGHT_RED, CYAN, GREEN, RED, YELLOW, colored, wants_colors
from trioserve._server import TRACE, escaped, phrase_of_status, utc_time

__all__ = [
    "AccessFormatter", "DefaultFormatter", "JsonFormatter", "PathFilter", "RequestIdFilter", "level_prefix",
    "wants_colors",
]  # fmt: skip

_PREFIX_WIDTH: Final = 10  # "CRITICAL: ", the longest
_LEVEL_COLORS: Final = {
    TRACE: BLUE, logging.DEBUG: CYAN, logging.INFO: GREEN, logging.WARNING: YELLOW, logging.ERROR: RED,
    logging.CRITICAL: BRIGHT_RED,
}
_STATUS_COLORS: Final = {2: GREEN, 3: YELLOW, 4: RED, 5: BRIGHT_RED}
_STANDARD: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}  # no keys of somebody's own

Style = Literal["%", "{", "$"]


def level_prefix(level: int, colors: bool) -> str:
    """``"INFO:     "``: the level's name, as wide as the longest."""
    name = logging.getLevelName(level)
    padding = " " * max(1, _PREFIX_WIDTH - len(name) - 1)
    return f"{colored(name, _LEVEL_COLORS.get(level), colors)}:{padding}"


class DefaultFormatter(logging.Formatter):
    """Lines of text, by default ``INFO:     message [request id]``, then the traceback if there is one.

    Args:
        fmt: may have, besides Python's own attributes, ``levelprefix``, the coloured level of a fixed width without
            the space that follows it; ``request_id``, the name of the request, or ``-``; ``in_brackets``, the same
            as ``" [name]"``, or nothing.
        datefmt: of ``asctime``, as for ``logging.Formatter``.
        style: how ``fmt`` is written, likewise.
        use_colors: ``None`` for colours when stderr is a terminal; ``NO_COLOR`` and ``FORCE_COLOR`` are obeyed.
    """

    _FORMATS: ClassVar[dict[str, str]] = {
        "%": "%(levelprefix)s %(message)s%(in_brackets)s", "{": "{levelprefix} {message}{in_brackets}",
        "$": "${levelprefix} ${message}${in_brackets}",
    }

    def __init__(
        self, fmt: str | None = None, datefmt: str | None = None, style: Style = "%", use_colors: bool | None = None
    ) -> None:
        super().__init__(fmt or self._FORMATS[style], datefmt, style)
        self.use_colors = wants_colors(use_colors, self._stream())

    def _stream(self) -> TextIO | None:
        """Where the lines most likely go."""
        return sys.stderr

    def formatMessage(self, record: logging.LogRecord) -> str:  # the standard library's name
        shown = copy.copy(record)  # other handlers shall not see what is added
        self._add(shown)
        return super().formatMessage(shown)

    def _add(self, record: logging.LogRecord) -> None:
        name = getattr(record, "request_id", None)
        record.levelprefix = level_prefix(record.levelno, self.use_colors).removesuffix(" ")
        record.request_id = name if name is not None else "-"
        record.in_brackets = f" [{name}]" if name is not None else ""


class AccessFormatter(DefaultFormatter):
    """The same for records of ``trioserve.access``, by default ``INFO:     127.0.0.1:53412 - "GET / HTTP/1.1" 200 OK``.

    ``fmt`` may also have ``client_addr``, ``request_line`` and ``status_code``, the latter with its phrase; of a
    WebSocket that has ended, the code. Fields of the JSON line such as ``duration_ms`` are there as they are. Without
    ``use_colors`` it is stdout that counts.
    """

    _FORMATS: ClassVar[dict[str, str]] = {
        "%": '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
        "{": '{levelprefix} {client_addr} - "{request_line}" {status_code}',
        "$": '${levelprefix} ${client_addr} - "${request_line}" ${status_code}',
    }

    def _stream(self) -> TextIO | None:
        return sys.stdout

    def _add(self, record: logging.LogRecord) -> None:
        super()._add(record)
        known = vars(record)
        client, port, path, query = (known.get(name) for name in ("client", "client_port", "path", "query"))
        target = escaped(f"{path}?{query}" if query else path or "-")
        version = f" HTTP/{known['http_version']}" if known.get("http_version") else ""
        record.client_addr = "-" if client is None else f"{client}:{port}"
        record.request_line = f"{known.get('method') or '-'} {target}{version}"
        record.status_code = self._status(known)

    def _status(self, known: dict[str, Any]) -> str:
        if (status := known.get("status")) is None:
            return str(known.get("close_code", "-"))
        text = f"{status} {phrase_of_status(status)}".rstrip()
        color = _STATUS_COLORS.get(status // 100)
        return colored(text, color, self.use_colors and color is not None)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, pid, message; what the record has besides; exception and stack."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.fields(record), default=str)

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """The object, in the order of the line; a subclass may change it. What JSON cannot say becomes a text."""
        line: dict[str, Any] = {
            "time": utc_time(record.created), "level": record.levelname.lower(), "logger": record.name,
            "pid": record.process, "message": record.getMessage(),
        }  # fmt: skip
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return line


class RequestIdFilter(logging.Filter):
    """Lets all records pass, and gives each a ``request_id``, so that any formatter can have it.

    Args:
        missing: what it is in lines that are about no request.
    """

    def __init__(self, name: str = "", missing: str = "-") -> None:
        super().__init__(name)
        self._missing = missing

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "request_id", None) is None:
            record.request_id = self._missing
        return super().filter(record)


class PathFilter(logging.Filter):
    """Keeps access lines of some paths out of the log, such as those of health checks, as long as all is well.

    Args:
        paths: what comes before ``?`` in the request target, exactly.
        below: statuses from this one on are logged all the same.
    """

    def __init__(self, paths: Iterable[str], below: int = 400) -> None:
        super().__init__()
        self._paths = frozenset(paths)
        self._below = below

    def filter(self, record: logging.LogRecord) -> bool:
        status = getattr(record, "status", None)
        return getattr(record, "path", None) not in self._paths or status is None or not 0 < status < self._below
