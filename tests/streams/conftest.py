"""Every test here runs over every kind of stream, on that stream's backend."""

import gc
from collections.abc import Iterator

import pytest

from tests.helpers.stream_pairs import KINDS, PROXIED_KINDS, Kind, skip_if_missing
from trioserve.testing.virtual_time import Backend


@pytest.fixture(params=[*KINDS, *PROXIED_KINDS], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


@pytest.fixture
def anyio_backend(kind: Kind) -> str | Backend:
    return kind.backend()


@pytest.fixture(scope="module", autouse=True)
def little_to_collect() -> None:
    """What is there already is not looked at each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_unclosed() -> Iterator[None]:
    """A socket or transport that nobody closed warns when it is collected, and a warning is an error."""
    yield
    gc.collect()
