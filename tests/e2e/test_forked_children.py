"""An application that forks child processes: signals to them are theirs, and connections that they have end."""

import ast
import signal
from collections.abc import Iterator

import pytest

from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.raw_websocket import RawWebSocket
from tests.helpers.server_process import Flavour, ServerProcess, serve
from tests.helpers.worker_processes import serve_with_workers
from tests.helpers.ws_frames import close_frame

DEV = ("-X", "dev")

EXPECTED = {
    "SIGTERM": -signal.SIGTERM,
    "SIGINT": 42,  # the child's own, for KeyboardInterrupt
    "SIGHUP": -signal.SIGHUP,
    "SIGUSR1": -signal.SIGUSR1,
    "at once": [-signal.SIGTERM] * 20,
    "pool": [1, 2, 3],
}


@pytest.fixture(params=[1, 2], ids=["single process", "workers"])
def server(request: pytest.FixtureRequest, loop: Flavour) -> Iterator[ServerProcess]:
    if request.param == 1:
        with serve("children:app", loop, python_options=DEV) as server:
            yield server
    else:
        with serve_with_workers("children:app", loop, python_options=DEV) as server:
            yield server


@pytest.mark.parametrize("path", ["/", "/thread"], ids=["in the event loop", "in a thread"])
def test_children_end_and_the_server_does_not(server: ServerProcess, path: str) -> None:
    for _ in range(2):
        found = ast.literal_eval(fetch(server.address, path).body.decode())
        assert found == {name: EXPECTED[name] for name in found}
        assert found.keys() >= EXPECTED.keys() - ({"SIGINT"} if path == "/thread" else set())
    assert not server.stderr.lines_with("Shutting down", "again", "means nothing", "ended unexpectedly")


def test_connections_end_while_children_have_them(loop: Flavour) -> None:
    with serve("children:app", loop, "--timeout-keep-alive", "1", python_options=DEV) as server:
        with RawClient(server.address) as client:  # RFC 9112 §6.3: the end of the connection is that of the body
            client.send(b"GET /left HTTP/1.0\r\n\r\n")
            assert client.receive_all().endswith(b"\r\n\r\nall of it")
        with RawClient(server.address) as client:
            client.get("/left", "Connection: close")
            assert client.receive_all().endswith(b"\r\n0\r\n\r\n")
        with RawClient(server.address) as client:
            client.get("/left")
            assert client.receive_all().endswith(b"\r\n0\r\n\r\n"), "it was idle for a second"
        with RawWebSocket(server.address) as client:
            client.open("/")
            assert client.receive_close() == 1000
            client.send(close_frame(1000))
            assert client.receive_all() == b""
        assert fetch(server.address, "/end").body == b"4"
