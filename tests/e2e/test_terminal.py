"""What a person at a terminal reads: where the server is, how to stop it, and what it waits for."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.helpers.raw_http import RawClient
from tests.helpers.server_process import APPS, Flavour


class Terminal:
    """A server whose log goes to a terminal."""

    def __init__(self, *options: str) -> None:
        self._screen, terminal = pty.openpty()
        self.text = ""
        command = [sys.executable, "-m", "trioserve", "probe:app", "--no-use-colors", "--port", "0", *options]
        self.process = subprocess.Popen(command, cwd=APPS, stdin=terminal, stdout=subprocess.DEVNULL, stderr=terminal)
        os.close(terminal)

    def wait_for(self, pattern: str) -> "re.Match[str]":
        while (found := re.search(pattern, self.text)) is None:
            self.text += os.read(self._screen, 4096).decode()  # raises when the server has ended
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)


@pytest.fixture
def terminal(request: pytest.FixtureRequest, loop: Flavour) -> Iterator[Terminal]:
    terminal = Terminal(*loop.options, *request.param)
    try:
        yield terminal
    finally:
        terminal.close()


STOP = r", press Ctrl-C to stop\r\n"
ONE_ADDRESS = r"Listening on http://127\.0\.0\.1:(\d+) \(\w+, \w+\)" + STOP
ALL_ADDRESSES = r"Listening on http://0\.0\.0\.0:(\d+) \(\w+, \w+\), on this machine http://127\.0\.0\.1:\1" + STOP


@pytest.mark.parametrize(("terminal", "line"), [
    ([], ONE_ADDRESS), (["--host", "0.0.0.0"], ALL_ADDRESSES), (["--workers", "2"], ONE_ADDRESS),
], indirect=["terminal"], ids=["one address", "all addresses", "workers"])  # fmt: skip
def test_from_the_first_line_to_the_second_ctrl_c(terminal: Terminal, line: str) -> None:
    port = int(terminal.wait_for(line)[1])
    with RawClient(("127.0.0.1", port)) as client:
        client.get("/hang")
        terminal.wait_for("/hang hanging")
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait_for(
            r"Waiting for 1 request \(GET /hang for \d+ s\), \d+ s at most; press Ctrl-C again to stop now\r\n")
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait_for("Stopped")
        assert terminal.process.wait(20) == 0
