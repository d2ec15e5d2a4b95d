"""Fixtures of the end-to-end tests: real processes, real sockets, in each flavour of the server."""

from collections.abc import Iterable
from typing import Any

import pytest

from tests.helpers.server_process import EVERY_FLAVOUR, FLAVOURS, LOOPS, Flavour


def params_of(flavours: Iterable[Flavour]) -> list[Any]:
    """A flavour whose package is not installed is skipped by name: trioserve runs without the package, too."""
    return [
        pytest.param(
            flavour, id=str(flavour),
            marks=pytest.mark.skipif(flavour.missing is not None, reason=f"{flavour.missing} is not installed"))
        for flavour in flavours
    ]


@pytest.fixture(scope="module", params=params_of(FLAVOURS))
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Both parsers and all three event loops."""
    found: Flavour = request.param
    return found


@pytest.fixture(scope="module", params=params_of(EVERY_FLAVOUR))
def every_flavour(request: pytest.FixtureRequest) -> Flavour:
    """Each parser on each event loop."""
    found: Flavour = request.param
    return found


@pytest.fixture(scope="module", params=params_of(LOOPS))
def loop(request: pytest.FixtureRequest) -> Flavour:
    """All three event loops."""
    found: Flavour = request.param
    return found
