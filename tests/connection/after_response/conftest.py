"""What the log says of work that a shutdown ends."""

import logging
from collections.abc import Callable

import pytest


@pytest.fixture
def stopping_log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was ended at the deadline."""
    caplog.set_level(logging.INFO, "trioserve")

    def lines() -> list[str]:
        return [line for record in caplog.records if "deadline" in (line := record.getMessage())]

    return lines
