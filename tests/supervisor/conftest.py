"""Fixtures of the supervisor's tests."""

import pytest

from tests.helpers.server_process import Flavour


@pytest.fixture(params=["trio", "asyncio"])
def backend(request: pytest.FixtureRequest) -> Flavour:
    """Both backends, for supervisor and workers alike."""
    return Flavour(request.param)
