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
    run_suite(pytester, plugins=(ANYIO, TRIO)).assert_outcomes(passed=29)


def test_the_server_without_fixtures() -> None:
    program = EXAMPLES / "testing" / "without_fixtures.py"
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=50, check=False)
    assert (done.stdout, done.stderr) == ("504 after 30 s\n", "")
