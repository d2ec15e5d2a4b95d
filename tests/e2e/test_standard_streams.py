"""A process that is started without stdin, stdout or stderr."""

import subprocess
import sys

import pytest

from tests.helpers.server_process import APPS, Flavour


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(loop: Flavour, closed: str) -> None:
    """libuv aborts when it closes a descriptor of its own that has the number of one of them."""
    command = [sys.executable, "-m", "trioserve", "origin:app", "--check", *loop.options]
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command], cwd=APPS, timeout=20, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
