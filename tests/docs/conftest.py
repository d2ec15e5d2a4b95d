"""What the tests of the documentation share."""

import pytest


@pytest.fixture(autouse=True)
def examples_unmeasured(unmeasured: None) -> None:
    """Commands and programs of the documentation show what other tests test."""
