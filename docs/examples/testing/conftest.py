"""Each test runs on trio and on asyncio, in virtual time."""

import pytest
from shop import app as the_shop

from trioserve.testing import virtual_backend


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request):
    return virtual_backend(request.param)


@pytest.fixture
def app():
    return the_shop
