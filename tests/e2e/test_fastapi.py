"""FastAPI on each flavour of the server, with nothing in the application that knows which."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from socket import SHUT_RDWR

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.helpers.raw_http import RawClient
from tests.helpers.server_process import GENERATORS_LEFT_BEHIND, WAIT_SECONDS, Flavour, ServerProcess, serve
from tests.helpers.ws_programs import open_websocket


@pytest.fixture(scope="module")
def server(flavour: Flavour) -> Iterator[ServerProcess]:
    with serve("fastapi_app:app", flavour) as server:
        yield server
    assert len(server.stderr.lines_with("fastapi: lifespan began")) == 1
    assert len(server.stderr.lines_with("fastapi: lifespan ended")) == 1


@pytest.fixture(scope="module")
def cancelling_server(flavour: Flavour) -> Iterator[ServerProcess]:
    with serve("fastapi_app:app", flavour, "--on-disconnect", "cancel") as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def token() -> str:
    return os.urandom(4).hex()


def test_json(client: httpx.Client, flavour: Flavour) -> None:
    response = client.get("/items/7", params={"q": "ein Wort, größer"})
    assert response.json() == {"item_id": 7, "q": "ein Wort, größer", "library": flavour.backend}
    assert client.post("/items", json={"name": "kettle", "price": 3}).status_code == 201


def test_file_response(client: httpx.Client) -> None:
    expected = Path(__file__).with_name("apps").joinpath("fastapi_app.py").read_bytes()
    assert client.get("/source").content == expected
    assert client.get("/source", headers={"range": "bytes=3-9"}).content == expected[3:10]


def test_validation_error(client: httpx.Client) -> None:
    response = client.post("/items", json={"name": "kettle", "price": -1})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "price"]
    assert client.get("/items/seven").status_code == 422


def test_http_exception(client: httpx.Client) -> None:
    response = client.get("/items/404")
    assert (response.status_code, response.json()) == (404, {"detail": "no such item"})
    assert client.delete("/items/7").status_code == 405


def test_form_upload(client: httpx.Client) -> None:
    data = os.urandom(2_000_000)    # more than is kept in memory: a thread writes it to a file
    response = client.post("/form", data={"name": "picture"}, files={"upload": ("a.bin", data)})
    assert response.json() == {"name": "picture", "filename": "a.bin", "bytes": len(data), "sum": sum(data)}


def test_streaming_response(client: httpx.Client) -> None:
    with client.stream("GET", "/stream") as response:
        assert [int(line) for line in response.iter_lines()] == list(range(1000))


def test_a_client_that_leaves_a_stream_is_not_an_error(flavour: Flavour) -> None:
    with serve("fastapi_app:app", flavour, python_options=GENERATORS_LEFT_BEHIND) as server:
        with httpx.Client(trust_env=False) as client, client.stream("GET", f"{server.url}/endless") as response:
            assert next(response.iter_lines()) == "tick"
        server.stderr.wait_for("endless stream closed")


def test_sync_endpoint_runs_in_a_thread(client: httpx.Client) -> None:
    assert client.get("/sync").json() == {"main_thread": False}


def test_dependency_with_yield(client: httpx.Client, server: ServerProcess, token: str) -> None:
    assert client.get("/dependency", params={"token": token}).json() == {"found": f"connection of {token}"}
    server.stderr.wait_for(f"{token} closed")


def test_lifespan_state(client: httpx.Client) -> None:
    assert client.get("/state").json() == {"greeting": "hello from the lifespan"}


def test_docs_page(client: httpx.Client) -> None:
    assert "/items/{item_id}" in client.get("/openapi.json").json()["paths"]
    assert client.get("/docs").status_code == 200


@pytest.mark.parametrize("on_disconnect", ["notify", "cancel"])
def test_a_background_task_survives_its_client(
    server: ServerProcess, cancelling_server: ServerProcess, on_disconnect: str, token: str
) -> None:
    chosen = server if on_disconnect == "notify" else cancelling_server
    with RawClient(chosen.address) as client:
        client.send(f"POST /background?token={token} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
        assert client.receive_response().json() == {"status": "accepted"}
        chosen.stderr.wait_for(f"{token} working")
        client.reset()
    httpx.post(f"{chosen.url}/release", params={"token": token}, trust_env=False).raise_for_status()
    chosen.stderr.wait_for(f"{token} finished")


def test_a_cancelled_request_closes_its_dependency(cancelling_server: ServerProcess, token: str) -> None:
    with RawClient(cancelling_server.address) as client:
        client.get(f"/dependency/hang?token={token}")
        cancelling_server.stderr.wait_for(f"{token} opened")
    cancelling_server.stderr.wait_for(f"{token} closed")
    cancelling_server.stderr.wait_for(f"client-disconnect: ended GET /dependency/hang?token={token}")


def test_an_exception_is_a_500_and_a_traceback(flavour: Flavour) -> None:
    with serve("fastapi_app:app", flavour, errors_expected=True) as server:
        response = httpx.get(f"{server.url}/fail", trust_env=False)
        assert (response.status_code, response.text) == (500, "Internal Server Error")
        server.stderr.wait_for("Exception in the application, serving GET /fail")
        server.stderr.wait_for("ValueError: on purpose, in FastAPI")
        assert httpx.get(f"{server.url}/state", trust_env=False).status_code == 200


# -- WebSockets ------------------------------------------------------------------------------------------------------


def test_a_websocket(server: ServerProcess, token: str) -> None:
    with open_websocket(f"{server.ws_url}/items/7/prices?token={token}&factor=2") as socket:
        assert socket.response is not None and socket.response.headers["x-item"] == "7"
        assert json.loads(socket.recv(WAIT_SECONDS)) == {
            "item_id": 7, "found": f"connection of {token}", "greeting": "hello from the lifespan"}
        for price in (1, 2.5):
            socket.send(json.dumps({"name": "kettle", "price": price}))
            assert json.loads(socket.recv(WAIT_SECONDS)) == {"name": "kettle", "price": 2 * price}
        socket.close(4001, "enough")
    server.stderr.wait_for(f"{token} disconnected 4001 'enough'")
    server.stderr.wait_for(f"{token} closed")


@pytest.mark.parametrize(("path", "cookie", "status"), [
    ("/items/seven/prices?token=a", "", 403), ("/members", "", 403), ("/nowhere", "", 403),
    ("/members", "member=debtor", 402),
])
def test_a_websocket_that_is_refused(server: ServerProcess, path: str, cookie: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused, open_websocket(f"{server.ws_url}{path}", cookie=cookie):
        pass
    assert refused.value.response.status_code == status


def test_a_websocket_that_the_endpoint_closes(server: ServerProcess) -> None:
    with open_websocket(f"{server.ws_url}/members", cookie="member=Ada") as socket:
        assert socket.recv(WAIT_SECONDS) == "welcome, Ada"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(WAIT_SECONDS)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "that was all")


def test_a_websocket_whose_client_has_left(server: ServerProcess, token: str) -> None:
    """The exception is no error: nothing of it is in the log."""
    with open_websocket(f"{server.ws_url}/ticks?token={token}") as socket:
        assert socket.recv(WAIT_SECONDS) == "tick"
        socket.socket.shutdown(SHUT_RDWR)       # without a close frame
    server.stderr.wait_for(f"{token} disconnected 1006")


def test_an_exception_in_a_websocket_is_1011_and_a_traceback(loop: Flavour) -> None:
    with serve("fastapi_app:app", loop, errors_expected=True) as server:
        with open_websocket(f"{server.ws_url}/fail") as socket, pytest.raises(ConnectionClosed) as closed:
            socket.recv(WAIT_SECONDS)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1011
        server.stderr.wait_for("ValueError: on purpose, in a WebSocket of FastAPI")
