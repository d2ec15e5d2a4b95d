"""Logging as the command line and ``run()`` set it up: standard library loggers, lines like uvicorn's.

``trioserve`` goes to stderr, ``trioserve.access`` to stdout. ``serve()`` calls nothing here: inside another program,
logging is that program's affair.
"""

import logging
import sys
from typing import TextIO

from trioserve._complaints import complain
from trioserve._config import DEFAULT_ACCESS_FORMAT, Config
from trioserve._server import TRACE
from trioserve.logging import DefaultFormatter, JsonFormatter, level_prefix, wants_colors

__all__ = ["AccessHandler", "set_up_logging"]

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
        from trioserve._supervisor.unheard import warn_if_unheard

        apply_log_config(config.log_config)
        warn_if_unheard(config.log_config if isinstance(config.log_config, str) else "the dict")
        return
    level = TRACE if config.log_level == "trace" else config.log_level.upper()
    errors = logging.StreamHandler(sys.stderr)
    errors.setFormatter(_formatter(config, sys.stderr, with_pid=one_of_many))
    _equip(log, level, errors)
    _equip(logging.getLogger("trioserve.access"), level, _access_handler(config))


def _formatter(config: Config, stream: TextIO | None, *, with_pid: bool) -> logging.Formatter:
    if config.log_format == "json":
        return JsonFormatter()
    fmt = "%(levelprefix)s [%(process)d] %(message)s%(in_brackets)s" if with_pid else None
    return DefaultFormatter(fmt, use_colors=wants_colors(config.use_colors, stream))


def _access_handler(config: Config) -> logging.Handler:
    """A line says its level unless it is JSON, which does it in its way, or the user has said what is in a line."""
    if not config.access_log:
        return logging.NullHandler()
    if config.log_format == "json":
        handler = AccessHandler(sys.stdout, prefix="")
        handler.setFormatter(JsonFormatter())
        return handler
    plain = config.access_log_format == DEFAULT_ACCESS_FORMAT
    colors = wants_colors(config.use_colors, sys.stdout)
    return AccessHandler(sys.stdout, prefix=level_prefix(logging.INFO, colors) if plain else "")


def _equip(logger: logging.Logger, level: int | str, handler: logging.Handler) -> None:
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)


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
