"""What an idle connection of HTTP/2 costs, and a stream whose application waits, in resident memory of the server."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.helpers.raw_http2 import RawHttp2Client
from tests.helpers.server_process import LOOPS, Flavour, ServerProcess, serve

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

CONNECTIONS = 300
BYTES_PER_CONNECTION = 60 * 1024    # measured: 29 KiB
STREAMED = 30                       # connections with
STREAMS = 99                        # streams each
BYTES_PER_STREAM = 20 * 1024        # measured: 13 KiB on trio


@pytest.fixture(params=[(loop, engine) for loop in LOOPS for engine in ("ngh2", "h2")], ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    flavour: Flavour
    flavour, engine = request.param
    options = ("--http2", "--http2-engine", engine, "--no-access-log")
    with serve("probe:app", flavour, *options, python_options=()) as server:
        yield server


def test_idle_connections_and_streams(server: ServerProcess) -> None:
    with ExitStack() as connected:
        def connect(count: int) -> list[RawHttp2Client]:
            clients = [connected.enter_context(RawHttp2Client(server.address)) for _ in range(count)]
            assert all(client.get("/hello") == b"Hello, world!" for client in clients)
            return clients

        connect(20)     # what is made once
        empty = server.resident_bytes()
        clients = connect(CONNECTIONS)
        idle = server.resident_bytes()
        assert (idle - empty) / CONNECTIONS < BYTES_PER_CONNECTION
        for client in clients[:STREAMED]:
            streams = client.ask(*["/watch"] * STREAMS)
            while not all(client.bodies.get(stream) for stream in streams):
                client.listen()
        assert (server.resident_bytes() - idle) / (STREAMED * STREAMS) < BYTES_PER_STREAM
        assert clients[0].get("/hello") == b"Hello, world!"     # beside them
