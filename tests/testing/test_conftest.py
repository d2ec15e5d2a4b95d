"""Which plugin runs which of this project's tests: the conftest that they share, in a suite of its own."""

from typing import Final

import pytest

from tests.helpers.plugins import ANYIO, TRIO, run_suite

pytest_plugins = ["pytester"]

CONFTEST: Final = """
from tests.conftest import anyio_backend, pytest_pycollect_makeitem

def pytest_configure(config):
    config.addinivalue_line("markers", "real_clock")
"""
BOTH: Final = """
import anyio, pytest, sniffio
from hypothesis import given, strategies as st

async def test_on_both(anyio_backend_name):
    assert sniffio.current_async_library() == anyio_backend_name

@given(number=st.integers())
async def test_hypothesis_on_both(number):
    await anyio.sleep(3600)

async def helper():
    raise AssertionError("no test")
"""
ON_TRIO: Final = """
import pytest, sniffio, trio
{module}

class Test:
    {test}
    async def test_on_trio_with_its_fixtures(self, nursery, autojump_clock):
        nursery.start_soon(trio.sleep, 3600)
        await trio.sleep(1800)
        assert trio.lowlevel.current_clock() is autojump_clock
"""


def test_an_async_test_runs_on_both_backends(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(BOTH)
    run_suite(pytester, plugins=(ANYIO, TRIO)).assert_outcomes(passed=4)


@pytest.mark.parametrize(("module", "test"), [
    ("pytestmark = pytest.mark.trio", ""), ("", "@pytest.mark.trio"), ("", "pytestmark = pytest.mark.trio")])
def test_a_test_for_trio_runs_once_with_pytest_trio(pytester: pytest.Pytester, module: str, test: str) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(ON_TRIO.format(module=module, test=test))
    run_suite(pytester, plugins=(ANYIO, TRIO)).assert_outcomes(passed=1)
