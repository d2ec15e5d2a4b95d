"""Lines of the log that have to be written where nothing may raise: in tasks whose end would be the server's.

Python's logging protects its caller from errors of a handler's output, but not from a filter, nor from a handler with
a ``handle`` of its own. Those are the user's code, and a server does not end because of a line in its log.
"""

import contextlib
import logging
import sys
import traceback
from collections.abc import Mapping

__all__ = ["complain"]


def complain(
    log: logging.Logger, message: str, *args: object, exc_info: BaseException | None = None,
    level: int = logging.ERROR, extra: Mapping[str, object] | None = None,
) -> None:  # fmt: skip
    """``log.log(level, message, *args, ...)`` that raises no ``Exception``.

    If logging raises, the line goes to stderr, with the traceback of ``exc_info`` and that of the error in logging. A
    ``KeyboardInterrupt`` passes through: it is no error of logging.
    """
    try:
        whole = None if exc_info is None else (type(exc_info), exc_info, exc_info.__traceback__)  # it may be false
        log.log(level, message, *args, exc_info=whole, extra=extra, stacklevel=2)
    except Exception as failure:
        _print(_formatted(message, args), exc_info, failure)


def _formatted(message: str, args: tuple[object, ...]) -> str:
    """As logging does it; the bare message if that is what raises."""
    try:
        return message % args if args else message
    except Exception:  # an argument's own code may raise anything
        return message


def _print(line: str, error: BaseException | None, failure: Exception) -> None:
    stderr = sys.stderr
    if stderr is None:  # the process has none
        return
    parts = [f"{line}\n"]
    if error is not None:
        parts += _traceback_of(error)
    parts.append("This line could not be logged:\n")
    parts += _traceback_of(failure, chain=False)  # its context is what the line is about
    with contextlib.suppress(Exception):  # it is closed, or its reader is gone: there is nobody left to tell
        stderr.write("".join(parts))
        stderr.flush()


def _traceback_of(error: BaseException, *, chain: bool = True) -> list[str]:
    """As Python shows it; one line if the exception's own code raises meanwhile."""
    try:
        return traceback.format_exception(error, chain=chain)
    except Exception as failure:
        return [f"{type(error).__name__}, which cannot be shown: {type(failure).__name__}\n"]
