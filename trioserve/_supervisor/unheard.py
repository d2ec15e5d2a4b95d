"""A configuration of logging that was written for another server: it names that one's loggers, and ours are mute."""

import logging
import sys

__all__ = ["warn_if_unheard"]

_NAMES = {"trioserve": "uvicorn and uvicorn.error", "trioserve.access": "uvicorn.access"}


def warn_if_unheard(source: str) -> None:
    """Say on stderr if ``source`` leaves nobody who listens to the server, without having mentioned it.

    Nobody listens when there is no handler, or when the level of the root logger lets only warnings through. The
    latter may be what is wanted; it is not when the configuration lets uvicorn say more.
    """
    log = logging.getLogger("trioserve")
    if log.handlers or log.level != logging.NOTSET or not log.propagate:
        return
    for_uvicorn = _mentions("uvicorn")
    if log.hasHandlers() and not log.disabled and (log.isEnabledFor(logging.INFO) or not for_uvicorn):
        return
    advice = "name the loggers trioserve and trioserve.access in it"
    if for_uvicorn:
        advice = "; ".join(f"name {ours} what is there for {theirs}" for ours, theirs in _NAMES.items())
    print(f"Warning: with {source} the lines of this server go nowhere: {advice}", file=sys.stderr)


def _mentions(name: str) -> bool:
    """Somebody has said something about a logger of that name, or about one below it."""
    known = {found: logger for found, logger in logging.root.manager.loggerDict.items()
             if isinstance(logger, logging.Logger) and (found == name or found.startswith(f"{name}."))}
    return any(logger.handlers or logger.level != logging.NOTSET for logger in known.values())
