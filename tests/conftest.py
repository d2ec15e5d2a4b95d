"""What all tests share: the backends they run on, each with a virtual clock, and loggers as they were before."""

import logging
from collections.abc import Iterator

import pytest

from tests.helpers.virtual_clock import Backend, virtual_backend


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_clock: run on the backends' own clocks, because real sockets take part")


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
