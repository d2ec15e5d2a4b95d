"""WebSocket clients that want more than their share: nobody else has to wait, and nothing is left of them."""

import resource
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from signal import SIGCONT, SIGSTOP, SIGTERM
from typing import Any

import pytest

from tests.helpers.raw_http import MEBIBYTE, drip, fetch, push_until_stuck
from tests.helpers.raw_websocket import DEFLATE, RawWebSocket, handshake
from tests.helpers.server_process import Flavour, ServerProcess, serve, wait_until
from tests.helpers.ws_frames import BINARY, CONTINUATION, PING, PONG, TEXT, close_frame, frame

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the server's memory from /proc")

MAX_SIZE = 4 * MEBIBYTE
SOME_MEMORY = 10 * MEBIBYTE     # what a server may take for a moment whoever its clients are
PROTOCOL_ERROR = 1002
IDLE = 5000
BYTES_PER_WEBSOCKET = 24 * 1024


@pytest.fixture(scope="module")
def server(loop: Flavour) -> Iterator[ServerProcess]:
    """Whoever does not read is given up after two seconds."""
    options = ("--timeout-header=1", "--timeout-write=2", f"--ws-max-size={MAX_SIZE}")
    with serve("probe:app", loop, *options, python_options=()) as server:
        yield server


@pytest.fixture
def pinging_server(loop: Flavour) -> Iterator[ServerProcess]:
    options = ("--ws-ping-interval=0.2", "--ws-ping-timeout=2", "--log-level=debug")
    with serve("probe:app", loop, *options) as server:
        yield server


def census_of(server: ServerProcess) -> Any:
    census = fetch(server.address, "/census").json()
    return census["tasks"], census["visits"], server.descriptors()


@contextmanager
def nothing_left(server: ServerProcess) -> Iterator[None]:
    """When the block's connections are closed, the server has as many tasks, requests and descriptors as before."""
    with RawWebSocket(server.address) as first:         # some descriptors are opened when they are needed
        first.open("/echo")
        first.echo("first")
        first.say_goodbye()
    before = census_of(server)
    yield
    try:
        wait_until(lambda: bool(census_of(server) == before), f"{before} again")
    except AssertionError as exc:
        exc.add_note(f"there are {census_of(server)}")
        raise


@pytest.fixture(autouse=True)
def undisturbed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Another client of the same server is served as ever, and nothing is left in the end."""
    if "server" not in request.fixturenames:
        yield
        return
    server: ServerProcess = request.getfixturevalue("server")
    with nothing_left(server), RawWebSocket(server.address) as bystander:
        bystander.open("/echo")
        bystander.echo("before")
        yield
        bystander.echo("after")
        bystander.say_goodbye()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RawWebSocket]:
    with RawWebSocket(server.address) as client:
        yield client


def open_many(server: ServerProcess, count: int, target: str, connected: ExitStack) -> list[RawWebSocket]:
    """Each is open before the next one connects: none is silent for the time that a handshake may take."""
    clients = []
    for _ in range(count):
        clients.append(connected.enter_context(RawWebSocket(server.address)))
        clients[-1].open(target)
    return clients


# -- the handshake ---------------------------------------------------------------------------------------------------


def test_slowloris_in_the_handshake(client: RawWebSocket) -> None:
    client.send(handshake("/echo").removesuffix(b"\r\n"))
    assert drip(client, b"X-Name: value\r\n", 0.05) > 0.9
    assert client.receive_response().status == 408
    assert client.is_closed()


def test_a_client_that_leaves_before_the_handshake_is_answered(client: RawWebSocket, server: ServerProcess) -> None:
    client.ask("/undecided?token=leaves")
    server.stderr.wait_for("leaves undecided")
    client.close()
    server.stderr.wait_for("leaves closed 1006")


# -- frames ----------------------------------------------------------------------------------------------------------


def test_frames_byte_by_byte(server: ServerProcess) -> None:
    """Many clients, each with a message that never ends; it is cheap to let them."""
    message = frame(TEXT, b"x" * 1000)
    with ExitStack() as connected:
        clients = open_many(server, 50, "/echo", connected)
        for byte in message[:40]:
            for client in clients:
                client.send(bytes([byte]))
        for client in clients[:25]:
            client.send(message[40:])
            assert client.receive_text() == "x" * 1000
        for client in clients:
            client.reset()


def test_ten_thousand_fragments(client: RawWebSocket) -> None:
    """With pings in between, each of which is answered."""
    client.open("/echo")
    wire = [frame(TEXT, b"0", fin=False)]
    for number in range(1, 10_000):
        if number % 1000 == 0:
            wire.append(frame(PING, b"%d" % number))
        wire.append(frame(CONTINUATION, b"%d" % (number % 10), fin=number == 9999))
    client.send(b"".join(wire))
    assert [client.receive_frame().opcode for _ in range(9)] == [PONG] * 9
    assert client.receive_text() == "0123456789" * 1000
    client.say_goodbye()


def test_a_message_that_never_ends(client: RawWebSocket, server: ServerProcess) -> None:
    before = server.resident_bytes()
    client.open("/echo?token=endless")
    client.send(frame(BINARY, b"x" * MEBIBYTE, fin=False))
    for _ in range(4):
        client.send(frame(CONTINUATION, b"x" * MEBIBYTE, fin=False))
    assert client.receive_close() == 1009
    assert server.resident_bytes() - before < 3 * MAX_SIZE
    server.stderr.wait_for("endless closed 1009")


def test_a_message_that_is_announced_as_enormous(client: RawWebSocket) -> None:
    """Refused by its header."""
    client.open("/echo")
    client.send(frame(BINARY, length=1 << 62, width=8))
    assert client.receive_close() == 1009


def deflated(mebibytes: int) -> bytes:
    """So many MiB of zeros, as the payload of one compressed message (RFC 7692 §7.2.1)."""
    packer = zlib.compressobj(wbits=-15)
    packed = b"".join(packer.compress(bytes(MEBIBYTE)) for _ in range(mebibytes))
    return (packed + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


def test_a_compression_bomb(client: RawWebSocket, server: ServerProcess) -> None:
    """A thousand times its size, were it unpacked: a quarter of a GiB."""
    before = server.resident_bytes()
    assert b"permessage-deflate" in client.open("/echo?token=bomb", DEFLATE)
    client.send(frame(BINARY, deflated(256), rsv=4))
    assert client.receive_close() == 1009
    assert server.resident_bytes() - before < 3 * MAX_SIZE
    server.stderr.wait_for("bomb closed 1009")


def test_a_compression_bomb_in_fragments(client: RawWebSocket, server: ServerProcess) -> None:
    before = server.resident_bytes()
    client.open("/echo?token=cluster", DEFLATE)
    bomb = deflated(256)
    pieces = [bomb[start : start + 1000] for start in range(0, len(bomb), 1000)]
    client.send(frame(BINARY, pieces[0], rsv=4, fin=False))
    client.send(b"".join(frame(CONTINUATION, piece, fin=False) for piece in pieces[1:]))
    assert client.receive_close() == 1009
    assert server.resident_bytes() - before < 3 * MAX_SIZE
    server.stderr.wait_for("cluster closed 1009")


# -- pings -----------------------------------------------------------------------------------------------------------


def test_pings_without_end_whose_answers_are_not_read(client: RawWebSocket, server: ServerProcess) -> None:
    """Who does not read the answers is not read from, and after two seconds given up."""
    before = server.resident_bytes()
    client.open("/echo?token=pings")
    pings = frame(PING, b"x" * 125) * 500
    with pytest.raises((TimeoutError, ConnectionError)):
        while True:
            client.send(pings)
            assert server.resident_bytes() - before < SOME_MEMORY
    server.stderr.wait_for("pings closed 1006")


def test_pings_without_end_whose_answers_are_read(client: RawWebSocket, server: ServerProcess) -> None:
    """They take turns with everybody else."""
    with RawWebSocket(server.address) as other:
        other.open("/echo")
        client.open("/echo")
        for number in range(50):
            client.send(b"".join(frame(PING, b"%d-%d" % (number, each)) for each in range(400)))
            other.echo(f"meanwhile {number}")
            for each in range(400):
                assert client.receive_frame().payload == b"%d-%d" % (number, each)
        client.say_goodbye()


# -- backpressure ----------------------------------------------------------------------------------------------------


def test_a_client_that_never_reads(client: RawWebSocket, server: ServerProcess) -> None:
    """The application sends without end, and waits; then it is told."""
    before = server.resident_bytes()
    client.open("/flood?token=unread")
    server.stderr.wait_for("unread ClientDisconnected")
    assert server.resident_bytes() - before < SOME_MEMORY


@pytest.mark.parametrize("how", ["deaf", "late"])
def test_an_application_that_does_not_receive(client: RawWebSocket, server: ServerProcess, how: str) -> None:
    """Or has not answered the handshake. The client has to wait; what it has sent until then arrives in the end."""
    before = server.resident_bytes()
    client.ask(f"/{how}?token={how}")
    server.stderr.wait_for(f"{how} sleeps")
    message = frame(BINARY, b"x" * 10_000)
    pushed = push_until_stuck(client, message)
    assert server.resident_bytes() - before < SOME_MEMORY
    fetch(server.address, f"/wake?token={how}")
    client.receive_accept()
    client.send(message[pushed % len(message) :])       # the rest of the last one
    messages = pushed // len(message) + 1
    assert [int(client.receive_text()) for _ in range(messages)] == [10_000 * n for n in range(1, messages + 1)]
    client.say_goodbye()


# -- losses ----------------------------------------------------------------------------------------------------------


def test_clients_that_have_vanished_are_found_by_pings(pinging_server: ServerProcess) -> None:
    """They neither answer nor close: a cable is cut. Those that answer stay."""
    server = pinging_server
    with nothing_left(server), ExitStack() as connected, RawWebSocket(server.address) as alive:
        clients = open_many(server, 50, "/echo?token=lost", connected)
        alive.open("/echo")
        while len(server.stderr.lines_with("lost closed 1006 'keep-alive ping timeout'")) < len(clients):
            assert alive.receive_frame().opcode == PING
            alive.send(frame(PONG))
        assert len(server.stderr.lines_with("ping-timeout: closing the WebSocket of ")) == len(clients)
        for client in clients:
            assert client.receive_frame().opcode == PING
            assert client.receive_close() == 1011
            assert client.is_closed()
        alive.reset()


def test_clients_that_break_the_rules_in_the_same_moment(server: ServerProcess) -> None:
    with ExitStack() as connected:
        sockets = open_many(server, 16, "/echo", connected)
        server.send_signal(SIGSTOP)     # so that it will find all of them together
        for socket in sockets:
            socket.send(frame(TEXT, b"hello", rsv=4))
        server.send_signal(SIGCONT)
        for socket in sockets:
            assert socket.receive_close() == PROTOCOL_ERROR
            assert socket.receive_all() == b""


def test_clients_that_reset_their_connections(server: ServerProcess) -> None:
    for number in range(100):
        with RawWebSocket(server.address) as client:
            client.open("/echo?token=reset")
            client.send(frame(TEXT, b"x" * 5000)[: 60 * number])
            client.reset()
    server.stderr.wait_for("reset closed 1006", times=100)


def test_a_client_that_only_stops_sending_gets_what_was_sent_to_it(client: RawWebSocket, server: ServerProcess) -> None:
    """It closes its half of the connection without a close frame, and begins to read when all is over."""
    message = b"x" * 1_000_000
    client.open("/echo?token=half")
    client.send(frame(BINARY, message))
    client.half_close()
    server.stderr.wait_for("half closed 1006")
    assert client.receive_frame().payload == message
    assert client.receive_all() == b""


# -- crowds ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """For this process, and the server that inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = IDLE + 200
    assert hard == resource.RLIM_INFINITY or hard >= needed, f"this test needs {needed} descriptors (ulimit -Hn)"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_many_idle_websockets(loop: Flavour) -> None:
    """Little memory each, nobody waits because of them, half of them leave at once, the others are told of the end."""
    options = ("--no-access-log", "--timeout-header=60", "--ws-ping-interval=off")  # the first wait until all are there
    with serve("probe:app", loop, *options, python_options=()) as server, ExitStack() as connected:
        descriptors, memory = server.descriptors(), server.resident_bytes()
        clients = [connected.enter_context(RawWebSocket(server.address)) for _ in range(IDLE)]
        for client in clients:
            client.ask("/echo?token=crowd")
        for client in clients:
            client.receive_accept()
        assert (server.resident_bytes() - memory) / IDLE < BYTES_PER_WEBSOCKET
        clients[IDLE // 2].echo("beside all the others")
        assert fetch(server.address, "/hello").status == 200
        for client in clients:
            client.text("all at once")
        assert all(client.receive_text() == "all at once" for client in clients)
        for client in clients[IDLE // 2 :]:
            client.reset()
        server.stderr.wait_for("crowd closed 1006", times=IDLE // 2)
        wait_until(lambda: server.descriptors() <= descriptors + IDLE // 2 + 1, "half of them closed")
        server.send_signal(SIGTERM)
        for client in clients[: IDLE // 2]:
            assert client.receive_close() == 1012
            client.send(close_frame(1012))
        assert all(client.is_closed() for client in clients[: IDLE // 2])
        server.judge_end()
