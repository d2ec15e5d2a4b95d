"""The guide's room on two workers, with a real Redis between them."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection

from tests.helpers.proxies import free_port
from tests.helpers.server_process import WAIT_SECONDS, Flavour, running
from tests.helpers.system_programs import system_program
from tests.helpers.ws_programs import open_websocket

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis that is ours alone."""
    program, port = system_program("redis-server", package="redis-server"), free_port()
    directory = tmp_path_factory.mktemp("redis")
    with subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "Ready to accept connections" in line:
                    break
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.kill()


def connect(url: str, clients: ExitStack) -> tuple[int, ClientConnection]:
    """A client, and the process that it has got."""
    socket = clients.enter_context(open_websocket(url))
    return int(str(socket.recv(WAIT_SECONDS)).rpartition(" ")[2]), socket


def test_clients_of_two_processes_hear_each_other(
    loop: Flavour, redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis)
    command = ["-m", "trioserve", "--app-dir", str(EXAMPLES), "room_redis:app", "--port", "0", "--workers", "2",
               *loop.options]
    with running(command) as server, ExitStack() as clients:
        process, one = connect(server.ws_url, clients)
        os.kill(process, signal.SIGSTOP)  # so the next client gets the other one
        try:
            other_process, other = connect(server.ws_url, clients)
        finally:
            os.kill(process, signal.SIGCONT)
        assert process != other_process
        one.send("is anybody there?")
        assert other.recv(WAIT_SECONDS) == one.recv(WAIT_SECONDS) == "is anybody there?"
        other.send("yes")
        assert other.recv(WAIT_SECONDS) == one.recv(WAIT_SECONDS) == "yes"
