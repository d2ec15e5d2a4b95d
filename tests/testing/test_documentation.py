"""The suite of the guide, and what else its page shows."""

import subprocess
import sys
from pathlib import Path

import pytest

import trioserve
from tests.helpers.plugins import ANYIO, TRIO, run_suite

pytest_plugins = ["pytester"]

EXAMPLES = Path(trioserve.__file__).parents[1] / "docs" / "examples"


def test_the_suite_of_the_guide(pytester: pytest.Pytester) -> None:
    pytester.copy_example(str(EXAMPLES / "testing"))
    run_suite(pytester, plugins=(ANYIO, TRIO)).assert_outcomes(passed=23)


@pytest.mark.parametrize(
    ("program", "output"),
    [("testing/without_fixtures.py", "504 after 30 s\n"), ("serve_in_thread.py", "Hello\n")])
def test_programs(program: str, output: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / program], capture_output=True, text=True, timeout=50, check=False)
    assert (done.stdout, done.stderr) == (output, "")
