"""What a machine sees that has none of the programs that some tests run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.system_programs import summary_of_missing

ROOT = Path(__file__).parents[2]
NEEDS_CADDY = "tests/docs/test_deploy_files.py::test_caddy"


@pytest.mark.parametrize(("ci", "code", "text"), [
    ("", 0, "1 test needs a program that this machine does not have:\n  caddy: apt-get install caddy\n"),
    ("true", 1, "Failed: needs caddy (install: apt-get install caddy)\n"),
], ids=["at home", "in CI"])
def test_a_program_that_is_missing(ci: str, code: int, text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", NEEDS_CADDY], cwd=ROOT,
        env=os.environ | {"PATH": str(tmp_path), "CI": ci}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=50, check=False)
    assert done.returncode == code, done.stdout
    assert text in done.stdout


def test_each_program_is_named_once() -> None:
    reasons = ["Skipped: needs b (install: get b)", "Skipped: needs a (install: get a)", "Skipped: POSIX only",
               "Skipped: needs b (install: get b)"]
    assert summary_of_missing(reasons) == [
        "3 tests need programs that this machine does not have:", "  a: get a", "  b: get b"]
    assert summary_of_missing(["Skipped: POSIX only"]) == []
