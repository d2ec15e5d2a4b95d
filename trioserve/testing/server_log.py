"""What a server logs, as records, for the length of a block."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["recorded_log"]

LOGGERS: Final = ("trioserve", "trioserve.access")


class _Recorder(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@contextmanager
def recorded_log(records: list[logging.LogRecord]) -> Iterator[None]:
    """``records`` grows with each record of level INFO and above. Several servers of one process share their loggers.

    A logger whose level is higher is opened to INFO for the block, so other handlers may hear more, too.
    """
    recorder = _Recorder(records)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        if not logger.isEnabledFor(logging.INFO):
            logger.setLevel(logging.INFO)
    heard_by = [logger for logger in loggers if logger.name == LOGGERS[0] or not logger.propagate]
    for logger in heard_by:
        logger.addHandler(recorder)
    try:
        yield
    finally:
        for logger in heard_by:
            logger.removeHandler(recorder)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
