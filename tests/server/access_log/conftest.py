"""Handlers of access lines; ``handler`` is one on each of the two paths."""

from typing import Any

import pytest

from tests.helpers.access_lines import BatchHandler, PlainHandler


@pytest.fixture(params=[BatchHandler, PlainHandler], ids=["batches", "records"])
def handler(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def batches() -> BatchHandler:
    return BatchHandler()
