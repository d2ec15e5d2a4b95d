"""Starlette on each flavour of the server, bare and behind the middleware that people put in front of it."""

import gzip
import json
import os
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.helpers.raw_http import RawClient
from tests.helpers.server_process import GENERATORS_LEFT_BEHIND, WAIT_SECONDS, Flavour, ServerProcess, serve
from tests.helpers.ws_programs import open_websocket

FILE_BYTES = bytes(range(256)) * 20_000


@pytest.fixture(scope="module", params=["app", "wrapped"])
def server(flavour: Flavour, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with serve(f"starlette_app:{request.param}", flavour) as server:
        yield server


@pytest.fixture(params=["app", "wrapped"])
def failing_server(flavour: Flavour, request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with serve(f"starlette_app:{request.param}", flavour, errors_expected=True) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def test_file_response(client: httpx.Client) -> None:
    response = client.get("/file", headers={"accept-encoding": "identity"})
    assert response.content == FILE_BYTES
    assert response.headers["content-length"] == str(len(FILE_BYTES))
    assert client.head("/file").content == b""
    part = client.get("/file", headers={"range": "bytes=256-511"})
    assert (part.status_code, part.content) == (206, bytes(range(256)))
    parts = client.get("/file", headers={"range": "bytes=0-99,1000-1099"})
    assert parts.status_code == 206
    assert parts.headers["content-type"].startswith("multipart/byteranges")
    assert FILE_BYTES[1000:1100] in parts.content
    assert client.get("/file", headers={"range": "bytes=99999999-"}).status_code == 416


def test_static_files(client: httpx.Client) -> None:
    response = client.get("/static/file.bin", headers={"accept-encoding": "identity"})
    assert response.content == FILE_BYTES
    again = client.get("/static/file.bin", headers={"if-none-match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.head("/static/file.bin").headers["content-length"] == str(len(FILE_BYTES))
    assert client.get("/static/missing").status_code == 404


def test_a_file_that_is_gone_is_a_500(flavour: Flavour) -> None:
    with serve("starlette_app:app", flavour, errors_expected=True) as server:
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            assert client.get("/missing").status_code == 500
            assert client.get("/file").content == FILE_BYTES
        server.stderr.wait_for("AppError: cannot open ")


def test_file_response_is_not_modified(client: httpx.Client) -> None:
    """Which Starlette leaves to its StaticFiles; the validators have to come through."""
    response = client.get("/file")
    assert response.headers["etag"]
    assert response.headers["last-modified"]


def test_streaming_response(client: httpx.Client) -> None:
    expected = b"".join(b"%d " % number * 1000 for number in range(50))
    assert client.get("/stream").content == expected


def test_request_stream(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 30_000

    assert client.post("/read_stream", content=pieces()).json() == {"bytes": 3_000_000}
    assert client.post("/read_stream", content=b"y" * 500_000).json() == {"bytes": 500_000}


def test_is_disconnected(flavour: Flavour) -> None:
    """Not behind BaseHTTPMiddleware: there it is always false, whatever the server says."""
    with serve("starlette_app:app", flavour) as server:
        with RawClient(server.address) as client:
            client.get("/wait_disconnected")
            server.stderr.wait_for("asks, disconnected: False")
        server.stderr.wait_for("sees the client leave")


@pytest.mark.parametrize("app", ["app", "wrapped"])
def test_a_client_that_leaves_a_stream_is_not_an_error(flavour: Flavour, app: str) -> None:
    """Starlette makes an exception of its own, ClientDisconnect, of the OSError that send() raises."""
    with serve(f"starlette_app:{app}", flavour, python_options=GENERATORS_LEFT_BEHIND) as server:
        with RawClient(server.address) as client:
            client.get("/endless", "Accept-Encoding: identity")
            assert client.receive_until(b"tick\n")
            client.reset()
        server.stderr.wait_for("the stream is closed")


def test_gzip(flavour: Flavour) -> None:
    with serve("starlette_app:wrapped", flavour) as server, RawClient(server.address) as client:
        for target, body in [
            ("/text", b"a text that repeats itself, " * 1000),
            ("/stream", b"".join(b"%d " % number * 1000 for number in range(50))),
        ]:
            client.get(target, "Accept-Encoding: gzip")
            response = client.receive_response()
            assert response.headers["content-encoding"] == "gzip"
            assert response.headers["x-middleware"] == "was here"
            assert gzip.decompress(response.body) == body
            assert len(response.body) < len(body) / 10


@pytest.mark.parametrize(("app", "encoding"), [("wrapped", None), ("compressing", "gzip")])
def test_files_are_compressed_where_path_send_is_not_offered(flavour: Flavour, app: str, encoding: str | None) -> None:
    with serve(f"starlette_app:{app}", flavour) as server:
        response = httpx.get(f"{server.url}/file", headers={"accept-encoding": "gzip"}, trust_env=False)
    assert response.content == FILE_BYTES
    assert response.headers.get("content-encoding") == encoding


def test_an_upload_cut_short(failing_server: ServerProcess) -> None:
    """Starlette raises ClientDisconnect, an exception of its own, which is in the log like any other."""
    with RawClient(failing_server.address) as client:
        client.send(b"POST /read_stream HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx")
        failing_server.stderr.wait_for("got the first byte")
    failing_server.stderr.wait_for("the upload was cut short")


def test_an_exception_is_a_500_and_a_traceback(failing_server: ServerProcess) -> None:
    with httpx.Client(base_url=failing_server.url, trust_env=False) as client:
        response = client.get("/fail")
        assert (response.status_code, response.text) == (500, "Internal Server Error")
        failing_server.stderr.wait_for("ValueError: on purpose, in Starlette")
        assert client.get("/text").status_code == 200
    assert len(failing_server.stderr.lines_with("Exception in the application, serving GET /fail")) == 1


def test_an_exception_in_a_stream_does_not_look_like_its_end(flavour: Flavour) -> None:
    """Not behind BaseHTTPMiddleware: it ends the response properly before it raises."""
    with serve("starlette_app:app", flavour, errors_expected=True) as server:
        with RawClient(server.address) as client:
            client.get("/fail_midway")
            with pytest.raises((EOFError, ConnectionResetError)):
                client.receive_response()
        server.stderr.wait_for("ValueError: on purpose, in a stream")


# -- WebSockets ------------------------------------------------------------------------------------------------------


def test_a_websocket_endpoint(server: ServerProcess) -> None:
    token = os.urandom(4).hex()
    with open_websocket(f"{server.ws_url}/shouting?token={token}", "loud", "quiet") as socket:
        assert socket.subprotocol == "loud"
        for word in ("quiet", "größer", "x" * 70_000):
            socket.send(word)
            assert socket.recv(WAIT_SECONDS) == word.upper()
    server.stderr.wait_for(f"{token} disconnected 1000")


def test_an_endpoint_closes_what_it_does_not_understand(loop: Flavour) -> None:
    """Starlette sends 1003, and then raises an exception."""
    with serve("starlette_app:app", loop, errors_expected=True) as server:
        with open_websocket(f"{server.ws_url}/shouting?token=bytes") as socket:
            socket.send(b"bytes")
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(WAIT_SECONDS)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1003
        server.stderr.wait_for("RuntimeError: Expected text websocket messages, but got bytes")


def test_an_endpoint_of_json(server: ServerProcess) -> None:
    with open_websocket(f"{server.ws_url}/summing") as socket:
        socket.send(json.dumps([1, 2, 3]))
        assert socket.recv(WAIT_SECONDS) == b'{"sum":6}'


def test_a_denial_response(server: ServerProcess) -> None:
    with pytest.raises(InvalidStatus) as denied, open_websocket(f"{server.ws_url}/by-invitation"):
        pass
    response = denied.value.response
    assert (response.status_code, response.headers["x-contact"]) == (401, "us")
    assert json.loads(response.body or b"") == {"detail": "by invitation only"}
