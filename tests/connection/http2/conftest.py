"""What the tests of HTTP/2 connections share."""

from typing import Any

import pytest


@pytest.fixture
def options(http2_options: dict[str, Any]) -> dict[str, Any]:
    """Each test may add to them."""
    return http2_options
