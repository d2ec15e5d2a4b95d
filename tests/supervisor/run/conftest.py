"""The stand-in takes the server's place, and a module is there to be imported."""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.stand_in_server import StandInServer
from trioserve._supervisor import run as run_module
from trioserve._supervisor.signals import STOP_SIGNALS


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[StandInServer]]:
    """Takes the server's place; ``served`` lists the ones that ran. Loggers and imports are as before afterwards."""
    path, modules = sys.path[:], set(sys.modules)
    signals = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    monkeypatch.setattr(threading, "_register_atexit", lambda function: None)  # a run is not this process's last act
    loggers = [logging.getLogger(name) for name in ("trioserve", "trioserve.access")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    StandInServer.served = []
    monkeypatch.setattr(run_module, "Server", StandInServer)
    yield StandInServer
    for number, handler in signals.items():
        signal.signal(number, handler)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("site_"):
            del sys.modules[name]
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Writes the module ``site_run``; returns the options to find it."""

    def write(source: str) -> dict[str, str]:
        (tmp_path / "site_run.py").write_text(source)
        return {"app_dir": str(tmp_path)}

    return write
