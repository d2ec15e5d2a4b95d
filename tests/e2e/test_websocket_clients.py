"""WebSocket clients that people use: trio-websocket, the package websockets, and Node's ws."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.helpers.certificates import files_of, server_certificate
from tests.helpers.raw_http import MEBIBYTE
from tests.helpers.server_process import Flavour, ServerProcess, serve
from tests.helpers.ws_programs import CLIENTS, Connect, Refused, node_ws

MAX_SIZE = 2 * MEBIBYTE


@pytest.fixture(scope="module")
def server(flavour: Flavour) -> Iterator[ServerProcess]:
    with serve("probe:app", flavour, "--ws-max-size", str(MAX_SIZE)) as server:
        yield server


@pytest.fixture
def url(server: ServerProcess) -> str:
    return server.ws_url


@pytest.fixture(params=list(CLIENTS.values()), ids=list(CLIENTS))
def connect(request: pytest.FixtureRequest) -> Connect:
    chosen: Connect = request.param
    return chosen


@pytest.fixture
def token() -> str:
    return os.urandom(4).hex()


MESSAGES: list[str | bytes] = [
    "text", "größer 😀", "", b"", bytes(range(256)), *("x" * size for size in (125, 126, 65535, 65536)),
    "a text that repeats itself, " * 40_000, os.urandom(MEBIBYTE),
]


def test_messages_come_back(connect: Connect, url: str) -> None:
    with connect(f"{url}/echo") as socket:
        for message in MESSAGES:
            socket.send(message)
            assert socket.receive() == message


def test_many_messages_under_way(connect: Connect, url: str) -> None:
    with connect(f"{url}/echo") as socket:
        for number in range(500):
            socket.send(f"message {number}")
        assert [socket.receive() for _ in range(500)] == [f"message {number}" for number in range(500)]


def test_compression_is_agreed_on_with_those_who_offer_it(connect: Connect, url: str) -> None:
    with connect(f"{url}/echo") as socket:
        assert socket.compressed == (connect is not CLIENTS["trio-websocket"])


def test_compression_can_be_switched_off(flavour: Flavour) -> None:
    with serve("probe:app", flavour, "--no-ws-per-message-deflate") as server:
        for connect in CLIENTS.values():
            with connect(f"{server.ws_url}/echo") as socket:
                assert not socket.compressed
                socket.send("plain " * 1000)
                assert socket.receive() == "plain " * 1000


def test_what_the_handshake_says(connect: Connect, url: str) -> None:
    with connect(f"{url}/scope?word=gr%C3%B6%C3%9Fer", "chat.v2", "chat.v1") as socket:
        scope = json.loads(socket.receive())
    assert (scope["type"], scope["scheme"], scope["http_version"]) == ("websocket", "ws", "1.1")
    assert (scope["path"], scope["query"]) == ("/scope", {"word": "größer"})
    assert scope["subprotocols"] == ["chat.v2", "chat.v1"]
    assert scope["headers"]["host"] == url.removeprefix("ws://")


def test_over_tls(connect: Connect, loop: Flavour, tmp_path: Path) -> None:
    certificate, key = files_of(server_certificate(), tmp_path)
    with serve("probe:app", loop, "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)) as server:
        assert server.ws_url.startswith("wss://")
        with connect(f"{server.ws_url}/scope") as socket:
            assert json.loads(socket.receive())["scheme"] == "wss"
        with connect(f"{server.ws_url}/echo?token=secure", "chat.v2") as socket:
            assert socket.subprotocol == "chat.v2"
            for message in MESSAGES:
                socket.send(message)
                assert socket.receive() == message
            socket.ping()
            server.send_signal(signal.SIGTERM)
            closed = socket.receive_close()
            assert (closed.code, closed.reason) == (1012, "the server is stopping")
        server.judge_end()
        assert server.stderr.lines_with("secure closed 1012 'the server is stopping'")


def test_subprotocol(connect: Connect, url: str) -> None:
    with connect(f"{url}/echo", "chat.v2", "chat.v1") as socket:
        assert socket.subprotocol == "chat.v2"
    with connect(f"{url}/echo") as socket:
        assert socket.subprotocol == ""


def test_a_ping_is_answered(connect: Connect, url: str) -> None:
    with connect(f"{url}/echo") as socket:
        for _ in range(3):
            socket.ping()
        socket.send("goes on")
        assert socket.receive() == "goes on"


def test_the_client_closes(connect: Connect, url: str, server: ServerProcess, token: str) -> None:
    with connect(f"{url}/echo?token={token}") as socket:
        socket.close(4321, "gone fishing")
        assert socket.receive_close().code == 4321
    server.stderr.wait_for(f"{token} closed 4321 'gone fishing'")
    line = server.stdout.wait_for(f'"WEBSOCKET /echo?token={token}" 4321')
    assert " received 0 (0 B) sent 0 (0 B) " in line


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (3456, "no more"), (1001, "größer")])
def test_the_application_closes(connect: Connect, url: str, code: int, reason: str) -> None:
    query = urlencode({"code": code, "reason": reason})
    with connect(f"{url}/close?{query}") as socket:
        assert socket.receive() == "the last word"
        closed = socket.receive_close()
        assert (closed.code, closed.reason) == (code, reason)


def test_a_handshake_is_refused(connect: Connect, url: str) -> None:
    with pytest.raises(Refused) as refused, connect(f"{url}/refuse"):
        pass
    assert refused.value == Refused(403, "Forbidden\n")


def test_a_handshake_is_answered_by_a_response(connect: Connect, url: str) -> None:
    with pytest.raises(Refused) as refused, connect(f"{url}/deny"):
        pass
    assert refused.value == Refused(429, "no more, ok")


def test_a_message_over_the_limit(connect: Connect, url: str, server: ServerProcess, token: str) -> None:
    with connect(f"{url}/echo?token={token}") as socket:
        socket.send(os.urandom(MAX_SIZE + 1))
        assert socket.receive_close().code == 1009
    server.stderr.wait_for(f"{token} closed 1009")


def test_a_client_that_is_killed(url: str, server: ServerProcess, token: str) -> None:
    with node_ws(f"{url}/echo?token={token}") as socket:
        socket.process.kill()
        server.stderr.wait_for(f"{token} closed 1006 ''")


def test_the_application_fails(loop: Flavour) -> None:
    with serve("probe:app", loop, errors_expected=True) as server:
        for number, connect in enumerate(CLIENTS.values(), 1):
            with connect(f"{server.ws_url}/fail") as socket:
                socket.send("anything")
                assert socket.receive_close().code == 1011
            server.stderr.wait_for("Exception in the application, serving GET /fail", times=number)


def test_keep_alive_pings(loop: Flavour) -> None:
    """A ping follows only upon a sign of life after the one before."""
    with (
        serve("probe:app", loop, "--ws-ping-interval", "0.1", "--ws-ping-timeout", "10") as server,
        node_ws(f"{server.ws_url}/echo") as socket,
    ):
        socket.wait_for_pings(4)
        socket.send("still there")
        assert socket.receive() == "still there"


def test_shutdown(connect: Connect, loop: Flavour) -> None:
    with serve("probe:app", loop) as server:
        with connect(f"{server.ws_url}/echo?token=last") as socket:
            socket.send("hello")
            assert socket.receive() == "hello"
            server.send_signal(signal.SIGTERM)
            closed = socket.receive_close()
            assert (closed.code, closed.reason) == (1012, "the server is stopping")
        server.judge_end()
        assert server.stderr.lines_with("last closed 1012 'the server is stopping'")
        assert server.stderr.lines_with("lifespan ended")
