"""Socket activation: a process that finds open sockets and three variables (sd_listen_fds(3))."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.helpers.certificates import files_of, server_certificate
from tests.helpers.server_process import STRICT, ServerProcess, running
from tests.helpers.system_programs import system_program
from trioserve import BindFailed, Config
from trioserve._supervisor.activation import activated_sockets

# Becomes the server itself, as a service manager's child does: the variables name its own process.
ACTIVATE: Final = """
import os, sys
fds, names, command = sys.argv[1].split(","), sys.argv[2], sys.argv[3:]
for at, fd in enumerate(fds):
    os.dup2(int(fd), 50 + at)
for at in range(len(fds)):
    os.dup2(50 + at, 3 + at, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": names}
os.execv(command[0], command)
"""


def activation(sockets: list[socket.socket], *options: str) -> tuple[list[str], list[int]]:
    """A Python command line that becomes the server, and the descriptors that it has to inherit."""
    fds = [sock.fileno() for sock in sockets]
    server = [sys.executable, *STRICT, "-m", "trioserve", "origin:app", *options]
    return ["-c", ACTIVATE, ",".join(map(str, fds)), ":".join("web" for _ in fds), *server], fds


@contextmanager
def activated(sockets: list[socket.socket], *options: str) -> Iterator[ServerProcess]:
    command, fds = activation(sockets, *options)
    with running(command, pass_fds=fds) as server:
        yield server


def origin(*where: str) -> Any:
    """What the application says of a request that curl sends there."""
    command = [system_program("curl", package="curl"), "-sS", "--max-time", "20", *where]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_the_sockets_of_systemd(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        host, port = tcp.getsockname()
        with activated([tcp, unix], "--backend", backend) as server:
            assert f"http://{host}:{port} " in server.stderr.wait_for("Listening on ")
            assert f"unix:{path} " in server.stderr.wait_for("Listening on ", times=2)
            assert origin(f"http://{host}:{port}/a")["server"] == [host, port]
            assert origin("--unix-socket", str(path), "http://a/b")["server"] == [str(path), None]
        assert path.exists()


def test_addresses_of_the_options_count_and_the_sockets_are_mentioned(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, activated([tcp], "--uds", str(tmp_path / "a")) as server:
        server.stderr.wait_for("The sockets of systemd are not used (LISTEN_FDS=1)")
        assert f"unix:{tmp_path / 'a'} " in server.stderr.wait_for("Listening on ")
    assert server.stderr.lines_with("Listening on ") == [server.stderr.wait_for("Listening on ")]


def test_insecure_addresses_come_in_addition(tmp_path: Path) -> None:
    certificate, key = files_of(server_certificate(), tmp_path)
    tls = ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    with socket.create_server(("127.0.0.1", 0)) as tcp, \
         activated([tcp], *tls, "--insecure-bind", "127.0.0.1:0") as server:
        assert server.address == tcp.getsockname()
        assert origin("--insecure", server.url)["scheme"] == "https"
        assert origin(server.insecure_url)["scheme"] == "http"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_of_them_without_tls(workers: str, tmp_path: Path) -> None:
    certificate, key = files_of(server_certificate(), tmp_path)
    tls = ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    one, two = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    with one, two, activated([one, two], *tls, "--insecure-bind", "fd://4", "--workers", workers) as server:
        if workers != "1":  # one that is still starting when the server stops would be killed, with an error
            server.stderr.wait_for("workers are ready")
        assert server.address == one.getsockname()
        assert origin("--insecure", server.url)["scheme"] == "https"
        assert server.insecure_url == f"http://127.0.0.1:{two.getsockname()[1]}"
        assert origin(server.insecure_url)["scheme"] == "http"


def test_one_of_them_by_its_number() -> None:
    other, tcp = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    with other, tcp, activated([other, tcp], "--bind", "fd://4") as server:
        assert f"http://127.0.0.1:{tcp.getsockname()[1]} " in server.stderr.wait_for("Listening on ")


def test_what_is_no_listening_socket() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        command, fds = activation([udp])
        server = ServerProcess([sys.executable, *command], pass_fds=fds)
        assert server.wait_exit() == 3
    assert server.stderr.text.splitlines()[-1] == "Error: cannot listen on fd://3: it is no stream socket"


# -- in this process ---------------------------------------------------------------------------------------------------


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The environment of the tests, without the variables."""
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return os.environ  # type: ignore[return-value]


@pytest.mark.parametrize("given", [
    {},
    {"LISTEN_FDS": "1"},
    {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
    {"LISTEN_PID": "", "LISTEN_FDS": "1"},
    {"LISTEN_PID": "me", "LISTEN_FDS": "1"},
])
def test_sockets_for_another_process(variables: dict[str, Any], given: dict[str, str]) -> None:
    variables |= given
    assert activated_sockets(Config()) is None
    assert {name: variables[name] for name in given} == given


def test_no_sockets_at_all(variables: dict[str, Any]) -> None:
    variables |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}
    assert activated_sockets(Config()) is None
    assert "LISTEN_PID" not in variables and "LISTEN_FDS" not in variables


@pytest.mark.parametrize("count", ["", "one", "-1", "1.0", "\u0661"])
def test_a_count_that_is_no_number(variables: dict[str, Any], count: str) -> None:
    variables |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}
    with pytest.raises(BindFailed, match="LISTEN_FDS is"):
        activated_sockets(Config())
