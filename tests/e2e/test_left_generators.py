"""Async generators that an application begins and leaves, in Python's development mode: nothing crashes."""

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import GENERATORS_LEFT_BEHIND, Flavour, serve


@pytest.mark.parametrize("path", ["/end", "/collector"])
def test_generators_that_are_left(loop: Flavour, path: str) -> None:
    options = ("--lifespan", "off")
    with serve("left_generators:app", loop, *options, python_options=GENERATORS_LEFT_BEHIND) as server:
        for _ in range(3):
            assert fetch(server.address, path).body == b"left"
