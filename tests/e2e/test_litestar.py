"""Litestar on each flavour of the server."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.helpers.raw_http import RawClient
from tests.helpers.server_process import GENERATORS_LEFT_BEHIND, Flavour, ServerProcess, serve


@pytest.fixture(scope="module")
def server(flavour: Flavour) -> Iterator[ServerProcess]:
    with serve("litestar_app:app", flavour) as server:
        yield server
    assert len(server.stderr.lines_with("litestar: lifespan ended")) == 1


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def test_json(client: httpx.Client, flavour: Flavour) -> None:
    assert client.get("/items/7", params={"q": "größer"}).json() == {
        "item_id": 7, "q": "größer", "greeting": "hello from the lifespan", "library": flavour.backend}
    assert client.post("/items", json={"name": "kettle", "price": 3.5}).status_code == 201


def test_validation_error(client: httpx.Client) -> None:
    assert client.post("/items", json={"name": "kettle"}).status_code == 400
    assert client.get("/items/seven").status_code == 404


def test_form_upload(client: httpx.Client) -> None:
    assert client.post("/form", files={"upload": ("a.bin", os.urandom(2_000_000))}).json() == 2_000_000


def test_file_response(client: httpx.Client) -> None:
    expected = Path(__file__).with_name("apps").joinpath("litestar_app.py").read_bytes()
    assert client.get("/source").content == expected


def test_streaming_response(client: httpx.Client) -> None:
    assert client.get("/stream").text.split() == [str(number) for number in range(100)]


def test_request_body_in_pieces(client: httpx.Client) -> None:
    assert client.post("/upload", content=iter([b"x" * 50_000] * 40)).json() == {"bytes": 2_000_000}


def test_background_task(client: httpx.Client, server: ServerProcess) -> None:
    assert client.get("/background").status_code == 200
    server.stderr.wait_for("litestar: background task ran")


def test_sync_handler(client: httpx.Client) -> None:
    assert client.get("/sync").text == "from a thread"


def test_dependency_with_yield(client: httpx.Client, server: ServerProcess) -> None:
    assert client.get("/dependency").text == "an open connection"
    server.stderr.wait_for("litestar: dependency closed")


def test_a_client_that_leaves_a_stream_is_not_an_error(flavour: Flavour) -> None:
    with serve("litestar_app:app", flavour, python_options=GENERATORS_LEFT_BEHIND) as server:
        with RawClient(server.address) as client:
            client.get("/endless")
            assert client.receive_until(b"tick\n")
            client.reset()
        server.stderr.wait_for("the stream is closed")


def test_an_exception_is_a_500_and_the_server_goes_on(flavour: Flavour) -> None:
    with (
        serve("litestar_app:app", flavour, errors_expected=True) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        assert client.get("/fail").status_code == 500
        assert client.get("/items/7").status_code == 200
