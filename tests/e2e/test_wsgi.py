"""Flask and Django as WSGI applications, on each event loop."""

import os
from collections.abc import Iterator

import httpx
import pytest

from tests.helpers.server_process import Flavour, ServerProcess, serve


@pytest.fixture(scope="module", params=["flask_app:app", "django_wsgi_app:app"])
def server(request: pytest.FixtureRequest, loop: Flavour) -> Iterator[ServerProcess]:
    with serve(request.param, loop, errors_expected=True) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def test_a_view(client: httpx.Client, server: ServerProcess) -> None:
    assert client.get("/", params={"word": "größer"}).json() == {
        "word": "größer", "scheme": "http", "host": server.url.removeprefix("http://"), "client": "127.0.0.1",
        "main_thread": False}
    assert client.head("/").content == b""
    assert client.get("/nowhere/").status_code == 404


def test_a_form_with_a_file(client: httpx.Client) -> None:
    files = {"upload": ("a.bin", os.urandom(3_000_000))}
    assert client.post("/upload/", data={"name": "picture"}, files=files).json() == {
        "name": "picture", "bytes": 3_000_000}


def test_a_stream(client: httpx.Client) -> None:
    assert client.get("/stream/").text.split() == [str(number) for number in range(100)]


def test_an_upload_of_a_known_length(client: httpx.Client) -> None:
    assert client.post("/count/", content=b"line\n" * 100_000).json() == {"bytes": 500_000}


def test_a_body_read_by_an_async_view(client: httpx.Client) -> None:
    assert client.post("/async-count/", content=b"line\n" * 100_000).json() == {"bytes": 500_000}


def test_an_exception_is_a_500_and_the_server_goes_on(client: httpx.Client) -> None:
    assert client.get("/fail/").status_code == 500
    assert client.get("/").status_code == 200
