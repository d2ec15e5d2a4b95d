"""Logging as the command line and ``run()`` set it up: standard library loggers, lines like uvicorn's.

``trioserve`` goes to stderr, ``trioserve.access`` to stdout. ``serve()`` calls nothing here: inside another program,
logging is that program's affair.
"""

import json
import logging
import os
import sys
from typing import Any, Final, TextIO

from trioserve._complaints import complain
from trioserve._config import DEFAULT_ACCESS_FORMAT, Config
from trioserve._server import TRACE, utc_time

__all__ = ["AccessHandler", "JsonFormatter", "LevelFormatter", "set_up_logging"]

_PREFIX_WIDTH: Final = 10  # "CRITICAL: ", the longest
_COLORS: Final = {
    TRACE: "\x1b[34m", logging.DEBUG: "\x1b[36m", logging.INFO: "\x1b[32m", logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[91m",
}
_RESET: Final = "\x1b[0m"

log = logging.getLogger("trioserve")


def set_up_logging(config: Config, *, one_of_many: bool = False) -> None:
    """Give both loggers their handlers and level, in the place of any that they had; or do what ``log_config`` says.

    ``one_of_many`` processes write to the same terminal or file: a line of text says which one it was.

    Raises:
        ConfigError: ``log_config`` cannot be read, or cannot be done.
    """
    logging.addLevelName(TRACE, "TRACE")
    if config.log_config is not None:
        from trioserve._supervisor.log_config import apply_log_config  # slow to import, and seldom needed

        apply_log_config(config.log_config)
        return
    level = TRACE if config.log_level == "trace" else config.log_level.upper()
    errors = logging.StreamHandler(sys.stderr)
    errors.setFormatter(_formatter(config, sys.stderr, with_pid=one_of_many))
    _equip(log, level, errors)
    _equip(logging.getLogger("trioserve.access"), level, _access_handler(config))


def _formatter(config: Config, stream: TextIO | None, *, with_pid: bool) -> logging.Formatter:
    if config.log_format == "json":
        return JsonFormatter()
    return LevelFormatter(colors=_wants_colors(config, stream), with_pid=with_pid)


def _access_handler(config: Config) -> logging.Handler:
    """A line says its level unless it is JSON, which does it in its way, or the user has said what is in a line."""
    if not config.access_log:
        return logging.NullHandler()
    if config.log_format == "json":
        handler = AccessHandler(sys.stdout, prefix="")
        handler.setFormatter(JsonFormatter())
        return handler
    plain = config.access_log_format == DEFAULT_ACCESS_FORMAT
    return AccessHandler(
        sys.stdout, prefix=level_prefix(logging.INFO, _wants_colors(config, sys.stdout)) if plain else "")


def _equip(logger: logging.Logger, level: int | str, handler: logging.Handler) -> None:
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)


def _wants_colors(config: Config, stream: TextIO | None) -> bool:
    """What the option says; without it, colours for a person at a terminal who has not said NO_COLOR."""
    if config.use_colors is not None:
        return config.use_colors
    return stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")


def level_prefix(level: int, colors: bool) -> str:
    """``"INFO:     "``: the level's name, as wide as the longest."""
    name = logging.getLevelName(level)
    padding = " " * max(1, _PREFIX_WIDTH - len(name) - 1)
    return f"{_COLORS.get(level, '')}{name}{_RESET}:{padding}" if colors else f"{name}:{padding}"


class LevelFormatter(logging.Formatter):
    """``INFO:     [pid] message [request id]``, then the traceback if there is one."""

    def __init__(self, *, colors: bool, with_pid: bool = False) -> None:
        super().__init__()
        self._colors = colors
        self._with_pid = with_pid

    def formatMessage(self, record: logging.LogRecord) -> str:  # the standard library's name
        request_id = getattr(record, "request_id", None)
        named = f" [{request_id}]" if request_id is not None else ""
        process = f"[{record.process}] " if self._with_pid else ""
        return f"{level_prefix(record.levelno, self._colors)}{process}{record.message}{named}"


_STANDARD: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}  # no keys of somebody's own


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, pid, message; what the record has besides; exception and stack."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": utc_time(record.created), "level": record.levelname.lower(), "logger": record.name,
            "pid": record.process, "message": record.getMessage(),
        }  # fmt: skip
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)


class AccessHandler(logging.Handler):
    """Writes access lines, one or many at a time. When nobody reads them any more it says so once, and stops.

    Attributes:
        prefix: what each line begins with, such as ``INFO:     ``.
    """

    def __init__(self, stream: TextIO | None, *, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix
        self._stream = stream  # None: the process has no stdout
        self._complained = False

    def emit(self, record: logging.LogRecord) -> None:
        """One line from an ordinary log record."""
        self._write(f"{self.prefix}{self.format(record)}\n")

    def write_lines(self, lines: list[str]) -> None:
        """Write ``lines``, given without prefix and newline, by one ``write()`` and one ``flush()``. Never raises."""
        separator = f"\n{self.prefix}"
        self.acquire()  # as Handler.handle does around emit
        try:
            self._write(f"{self.prefix}{separator.join(lines)}\n")
        finally:
            self.release()

    def _write(self, text: str) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:  # an old terminal; the line is worth more than its letters
                encoding = stream.encoding
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except (BrokenPipeError, ValueError) as exc:  # `trioserve ... | head`, or a closed file: it will stay so
            self._stream = None
            complain(log, "The access log ends here, nobody reads it any more (%s)", exc)
        except OSError as exc:  # a full disk, say: the next batch may fit again
            if not self._complained:
                complain(log, "Lines of the access log are lost: %s", exc)
            self._complained = True
        else:
            self._complained = False
