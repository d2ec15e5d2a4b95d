"""Every test here runs over every kind of stream, on that stream's backend."""

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


@pytest.fixture(autouse=True)
def every_stream_is_closed(nothing_unclosed: None) -> None:
    """As ``nothing_unclosed`` says, after each test."""
