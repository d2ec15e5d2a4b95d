"""Where the command listens: unix sockets, inherited ones, several at once, with curl as the client."""

import json
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.server_process import LOOPS, STRICT, Flavour, ServerProcess, running, serve
from tests.helpers.system_programs import system_program


def command(loop: Flavour, *options: str) -> list[str]:
    return [*STRICT, "-m", "trioserve", "origin:app", *loop.options, *options]


def origin(*where: str) -> Any:
    """What the application says of a request that curl sends there."""
    curl = [system_program("curl", package="curl"), "-sS", "--max-time", "20", *where]
    return json.loads(subprocess.run(curl, check=True, capture_output=True).stdout)


def test_a_unix_socket(loop: Flavour, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with serve("origin:app", loop, "--uds", str(path), "--uds-permissions", "600", port=None) as server:
        assert f"Listening on unix:{path} (" in server.start_line
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        told = origin("--unix-socket", str(path), "http://example.com/a")
        assert told == {"client": None, "server": [str(path), None], "scheme": "http", "root_path": "", "path": "/a",
                        "host": "example.com"}
        assert '- - "GET /a HTTP/1.1" 200 OK ' in server.stdout.wait_for("GET /a ")
    assert not path.exists()


def test_the_socket_of_a_killed_server_is_replaced(loop: Flavour, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with serve("origin:app", loop, "--uds", str(path), port=None) as server:
        server.kill(signal.SIGKILL)
    assert path.exists()
    with serve("origin:app", loop, "--uds", str(path), port=None):
        assert origin("--unix-socket", str(path), "http://a/b")["path"] == "/b"
    assert not path.exists()


def test_several_addresses(loop: Flavour, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with serve("origin:app", loop, "--bind", "127.0.0.1:0", "--bind", f"unix:{path}", port=None) as server:
        server.stderr.wait_for(f"Listening on unix:{path} (")
        assert origin(f"{server.url}/a")["server"] == list(server.address)
        assert origin("--unix-socket", str(path), "http://a/b")["server"] == [str(path), None]


def test_a_socket_of_the_parent(loop: Flavour) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd = sock.fileno()
        with running(command(loop, "--fd", str(fd)), pass_fds=[fd]) as server:
            assert server.address == sock.getsockname()
            assert origin(f"{server.url}/a")["client"][0] == "127.0.0.1"
        sock.setblocking(False)
        with socket.create_connection(sock.getsockname()):  # the parent's own descriptor still listens
            pass


@pytest.mark.parametrize(("options", "code", "problem"), [
    (["--bind", "here"], 2, "--bind: 'here' is not of the form HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N"),
    (["--uds", "a.sock", "--port", "1"], 2,
     "--port: cannot be combined with bind, uds or fd; write it as another bind HOST:PORT"),
    (["--uds", "no/such/directory"], 3, "cannot listen on unix:no/such/directory: there is no such directory"),
    (["--fd", "77"], 3, "cannot listen on fd://77: it is not open"),
    (["--bind", "unix:/dev/null"], 3,
     "cannot listen on unix:/dev/null: the file is no socket; remove it, or choose another path"),
])
def test_what_cannot_be_listened_on_is_one_line(options: list[str], code: int, problem: str) -> None:
    server = ServerProcess([sys.executable, *command(LOOPS[0], *options)])
    assert server.wait_exit() == code
    assert server.stderr.text == f"Error: {problem}"
