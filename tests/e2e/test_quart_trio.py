"""Quart-Trio, a framework that has nothing to run on but trio."""

import os
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.helpers.raw_http import RawClient
from tests.helpers.server_process import GENERATORS_LEFT_BEHIND, WAIT_SECONDS, Flavour, ServerProcess, serve
from tests.helpers.ws_programs import open_websocket

TRIO = Flavour("trio", "auto")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with serve("quart_trio_app:app", TRIO) as server:
        yield server
    assert len(server.stderr.lines_with("quart: before serving")) == 1
    assert len(server.stderr.lines_with("quart: after serving")) == 1


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def test_json(client: httpx.Client) -> None:
    assert client.get("/json", params={"word": "größer"}).json() == {"path": "/json", "query": {"word": "größer"}}
    assert client.get("/nowhere").status_code == 404


def test_form_upload(client: httpx.Client) -> None:
    response = client.post("/form", data={"name": "picture"}, files={"upload": ("a.bin", os.urandom(700_000))})
    assert response.json() == {"name": "picture", "bytes": 700_000}


def test_a_nursery_in_a_handler(client: httpx.Client) -> None:
    assert client.get("/nursery").json() == {"order": [2, 1, 0]}


def test_streaming_response(client: httpx.Client) -> None:
    assert client.get("/stream").text.split() == [str(number) for number in range(100)]


def test_request_body_in_pieces(client: httpx.Client) -> None:
    assert client.post("/upload", content=iter([b"x" * 50_000] * 40)).json() == {"bytes": 2_000_000}


def test_a_client_that_leaves_a_stream_is_not_an_error() -> None:
    with serve("quart_trio_app:app", TRIO, python_options=GENERATORS_LEFT_BEHIND) as server:
        with RawClient(server.address) as client:
            client.get("/endless")
            assert client.receive_until(b"tick\n")
        server.stderr.wait_for("the stream is closed")


def test_a_client_that_leaves_cancels_the_handlers_nursery() -> None:
    """Quart watches for ``http.disconnect`` itself."""
    with serve("quart_trio_app:app", TRIO) as server:
        with RawClient(server.address) as client:
            client.get("/hang")
            server.stderr.wait_for("hanging")
        server.stderr.wait_for("the nursery is cancelled")


@pytest.mark.parametrize("path", ["/fail", "/fail_in_nursery"])
def test_an_exception_is_a_500_and_a_traceback(path: str) -> None:
    with serve("quart_trio_app:app", TRIO, errors_expected=True) as server:
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            assert client.get(path).status_code == 500
            assert client.get("/json").status_code == 200
        server.stderr.wait_for("ValueError: on purpose, in Quart")


# -- WebSockets ------------------------------------------------------------------------------------------------------


def test_a_websocket(server: ServerProcess) -> None:
    with open_websocket(f"{server.ws_url}/echo?key=1") as socket:
        assert socket.response is not None and socket.response.headers["x-framework"] == "quart"
        for message in ("größer", b"bytes", "x" * 70_000):
            socket.send(message)
            assert socket.recv(WAIT_SECONDS) == message


def test_a_websocket_that_is_refused(server: ServerProcess) -> None:
    with pytest.raises(InvalidStatus) as refused, open_websocket(f"{server.ws_url}/echo"):
        pass
    assert refused.value.response.status_code == 401


def test_a_nursery_in_a_websockets_handler(server: ServerProcess) -> None:
    with open_websocket(f"{server.ws_url}/both-ways") as socket:
        assert socket.recv(WAIT_SECONDS) == "tick"
        socket.send("this")
        with pytest.raises(ConnectionClosed) as closed:
            while socket.recv(WAIT_SECONDS) == "tick":
                pass
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "heard enough")
    server.stderr.wait_for("heard 'this'")
    server.stderr.wait_for("counting is cancelled")
