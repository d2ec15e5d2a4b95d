"""The suite of the guide, and what else its page shows."""

import subprocess
import sys
from pathlib import Path

import pytest

import trioserve
from tests.helpers.plugins import ANYIO, TRIO, run_suite

pytest_plugins = ["pytester"]

EXAMPLES = Path(trioserve.__file__).parents[1] / "docs" / "examples"


def test_the_suites_of_the_guide(pytester: pytest.Pytester) -> None:
    pytester.copy_example(str(EXAMPLES / "testing"))
    run_suite(pytester, plugins=(ANYIO, TRIO)).assert_outcomes(passed=29)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_the_suite_of_the_shop_says_how_long_it_takes(pytester: pytest.Pytester, backend: str) -> None:
    """The page has a figure. ``-s`` shows what pytest says: no test can depend on how busy a machine is."""
    pytester.copy_example(str(EXAMPLES / "testing"))
    shown = ("--durations=0", "--durations-min=0", "-vv")
    result = run_suite(pytester, "test_shop.py", "-k", f"[{backend}]", *shown, plugins=(ANYIO, TRIO))
    result.assert_outcomes(passed=11, deselected=11)
    result.stdout.fnmatch_lines([f"*s call *test_whatever_is_cancelled_whenever?{backend}?*"])


def test_the_server_without_fixtures() -> None:
    program = EXAMPLES / "testing" / "without_fixtures.py"
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=50, check=False)
    assert (done.stdout, done.stderr) == ("504 after 30 s\n", "")
