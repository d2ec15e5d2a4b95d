"""What all tests share: the backends they run on, each with a virtual clock, and loggers as they were before.

Two plugins run async tests, and no test belongs to both. A test that is marked ``trio`` is pytest-trio's: it is about
trio alone, and takes its clock and its nursery from the fixtures ``autojump_clock`` and ``nursery``. Every other async
test is anyio's, which runs it on both backends.
"""

import functools
import gc
import inspect
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import anyio
import hypothesis
import pytest

from tests.helpers.system_programs import summary_of_missing
from trioserve.testing import clock_is_virtual, virtual_backend
from trioserve.testing.virtual_time import Backend

A_LONG_TIME: Final = 50.0  # seconds; less than the blanket timeout of pytest, which cannot end an event loop properly
A_WEEK: Final = 7 * 24 * 3600.0  # seconds of virtual time: a test in which nothing can happen any more ends at once

hypothesis.settings.register_profile("no clock", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("no clock")


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job ignores SIGINT, under nohup also SIGHUP: programs under test shall hear both.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line("markers", "real_clock: run on the backends' own clocks, because real sockets take part")


@pytest.hookimpl(tryfirst=True)  # before anyio's plugin, which looks for the mark
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """Mark async tests for anyio, unless they, or their module, are marked for pytest-trio.

    The mode "auto" of anyio's plugin would take those, too, and run them on asyncio as well.
    """
    test = getattr(getattr(obj, "hypothesis", None), "inner_test", obj)
    if not collector.istestfunction(obj, name) or not inspect.iscoroutinefunction(test):
        return
    marks = [*collector.iter_markers("trio"), *getattr(obj, "pytestmark", ())]
    if not any(mark.name == "trio" for mark in marks):
        pytest.mark.anyio(obj)


@pytest.hookimpl(optionalhook=True)  # xdist may be switched off
def pytest_xdist_auto_num_workers() -> int | None:
    """Twice as many as there are cores: much of the time a test waits, for a process to start or for a timeout."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist reads it
    return 2 * (os.cpu_count() or 1)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What a newcomer would have to install for the tests that were skipped."""
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", [])]
    for line in summary_of_missing(str(longrepr[2]) for longrepr in skipped if isinstance(longrepr, tuple)):
        terminalreporter.write_line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = within_its_time(item.obj)


def pytest_collection_finish() -> None:
    """Twenty thousand tests are no garbage. Collections need not look at them, which takes half a second."""
    look_no_more()


def look_no_more() -> None:
    """What is there now is not looked at by any garbage collection that follows."""
    gc.collect()
    gc.freeze()


def within_its_time(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """``test``, with a deadline: what hangs is a failure."""

    @functools.wraps(test)
    async def limited(**fixtures: Any) -> None:
        with anyio.fail_after(A_WEEK if clock_is_virtual() else A_LONG_TIME):
            await test(**fixtures)

    return limited


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str | Backend:
    """Every async test runs on both; time jumps when nothing else can happen, unless the test is ``real_clock``."""
    name: str = request.param
    return name if request.node.get_closest_marker("real_clock") else virtual_backend(name)


@pytest.fixture(autouse=True)
def loggers_restored() -> Iterator[None]:
    """What a test does to our loggers ends with it."""
    loggers = [logging.getLogger(name) for name in ("trioserve", "trioserve.access")]
    before = [(logger.level, logger.propagate, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
        logger.handlers[:] = handlers


@pytest.fixture
def little_to_collect() -> None:
    """A garbage collection in the test takes a fraction of a millisecond, whatever the tests before it left."""
    look_no_more()


@pytest.fixture
def nothing_unclosed(little_to_collect: None) -> Iterator[None]:
    """A socket or transport that nobody closed warns when it is collected, and a warning is an error."""
    yield
    gc.collect()


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coverage run does not count lines of the processes that the test starts, because that makes them slower: other
    tests reach the same lines.
    """
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
