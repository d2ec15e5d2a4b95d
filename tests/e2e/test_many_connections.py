"""More connections than usual: ten thousand idle ones, more than there are descriptors, more than are wanted."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import Flavour, serve, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and has all of 127.0.0.0/8")

WANTED = 10_000
AT_LEAST = 4_000
OTHER_DESCRIPTORS = 200     # what either process needs besides its connections
BYTES_PER_CONNECTION = 24 * 1024


@pytest.fixture
def many_descriptors() -> Iterator[int]:
    """As many as this process, and the server that inherits the limit, may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = WANTED + OTHER_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED + OTHER_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
    yield max(soft, limit)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_idle_connections(loop: Flavour, many_descriptors: int) -> None:
    count = min(WANTED, many_descriptors - OTHER_DESCRIPTORS)
    assert count >= AT_LEAST, f"this test needs {AT_LEAST + OTHER_DESCRIPTORS} descriptors (ulimit -Hn)"
    options = ("--no-access-log", "--timeout-header=60")    # those that say nothing stay until all have come
    with serve("probe:app", loop, *options, python_options=()) as server:
        assert fetch(server.address, "/hello").status == 200
        descriptors, memory = server.descriptors(), server.resident_bytes()
        with ExitStack() as connected:
            clients = [connected.enter_context(RawClient(server.address, source=source_of(n))) for n in range(count)]
            for client in clients[::2]:         # every other one has been used, the others have said nothing
                client.get("/hello")
            for client in clients[::2]:
                assert client.receive_response().status == 200
            wait_until(lambda: server.descriptors() >= descriptors + count, "all connections accepted")
            assert fetch(server.address, "/hello").status == 200    # beside all the idle ones
            assert (server.resident_bytes() - memory) / count < BYTES_PER_CONNECTION
            for client in clients[-100:]:       # all are alive
                client.get("/hello")
            assert all(client.receive_response().status == 200 for client in clients[-100:])
            for client in clients[:count // 2]:
                client.reset()
        wait_until(lambda: server.descriptors() <= descriptors + 1, "all connections closed")
        assert fetch(server.address, "/hello").status == 200


def source_of(number: int) -> str:
    """Spread over several addresses: one of them has no more than 28,000 ports to one server."""
    return f"127.0.1.{1 + number % 8}"


def test_shutdown_with_many_idle_connections(loop: Flavour) -> None:
    with serve("probe:app", loop) as server, ExitStack() as connected:
        clients = [connected.enter_context(RawClient(server.address)) for _ in range(300)]
        for client in clients:
            client.get("/hello")
        assert all(client.receive_response().status == 200 for client in clients)
        server.stop()
        assert all(client.is_closed() for client in clients)


def test_no_descriptors_left(loop: Flavour) -> None:
    """The others wait in the backlog; the log has one complaint; when somebody leaves, all goes on."""
    with serve("probe:app", loop, errors_expected=True) as server, ExitStack() as connected:
        assert fetch(server.address, "/hello").status == 200
        server.limit_descriptors(server.descriptors() + 20)
        clients = [connected.enter_context(RawClient(server.address)) for _ in range(60)]
        server.stderr.wait_for("Cannot accept connections")
        clients[0].get("/hello")
        assert clients[0].receive_response().status == 200          # who is in is served
        time.sleep(0.5)                                             # time for five more attempts
        assert len(server.stderr.lines_with("Cannot accept connections")) == 1
        clients[-1].get("/hello")                                   # waits in the backlog
        for client in clients[:-1]:
            client.close()
        assert clients[-1].receive_response().status == 200
        assert fetch(server.address, "/hello").status == 200
        assert len(server.stderr.text.splitlines()) < 20


def test_a_limit_on_connections(loop: Flavour) -> None:
    """The one too many waits in the backlog until there is room."""
    with serve("probe:app", loop, "--limit-connections", "3") as server:
        clients = [RawClient(server.address) for _ in range(4)]
        for client in clients:
            client.get("/hello")
        assert [client.receive_response().status for client in clients[:3]] == [200, 200, 200]
        clients[3].sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            clients[3].receive_response()
        clients[3].sock.settimeout(20)
        clients[1].close()
        assert clients[3].receive_response().status == 200
        for client in clients:
            client.close()


def test_a_limit_on_requests_in_progress(loop: Flavour) -> None:
    """One runs, one waits for a second, the third is told at once to come back; idle connections do not count."""
    with serve("probe:app", loop, "--limit-concurrency", "1") as server, ExitStack() as connected:
        idle, busy, queued, refused = (connected.enter_context(RawClient(server.address)) for _ in range(4))
        idle.get("/hello")
        assert idle.receive_response().status == 200
        busy.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1")
        server.stderr.wait_for("/echo entered")
        queued.get("/hello")
        assert queued.receive_response().status == 503
        refused.get("/hello")
        response = refused.receive_response()
        assert (response.status, response.headers["retry-after"]) == (503, "1")
        busy.send(b"2")
        assert busy.receive_response().body == b"12"
        idle.get("/hello")
        assert idle.receive_response().status == 200
