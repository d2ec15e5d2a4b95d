"""Django's ASGI handler, which has no lifespan and knows asyncio only."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.helpers.raw_http import RawClient
from tests.helpers.server_process import LOOPS, STRICT, Flavour, ServerProcess, serve

ON_ASYNCIO = [
    pytest.param(
        flavour, id=str(flavour),
        marks=pytest.mark.skipif(flavour.missing is not None, reason=f"{flavour.missing} is not installed"))
    for flavour in LOOPS if flavour.backend == "asyncio"
]


@pytest.fixture(scope="module", params=ON_ASYNCIO)
def asyncio_flavour(request: pytest.FixtureRequest) -> Flavour:
    found: Flavour = request.param
    return found


@pytest.fixture(scope="module")
def server(asyncio_flavour: Flavour) -> Iterator[ServerProcess]:
    with serve("django_app:app", asyncio_flavour) as server:
        server.stderr.wait_for("The application has no lifespan (ValueError)")
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def test_async_view(client: httpx.Client, server: ServerProcess) -> None:
    response = client.get("/async_view/", params={"word": "größer"})
    assert response.json() == {"word": "größer", "scheme": "http", "host": server.url.removeprefix("http://")}
    assert client.head("/async_view/").content == b""
    assert client.get("/async_view").status_code == 301
    assert client.get("/nowhere/").status_code == 404


def test_file_response(asyncio_flavour: Flavour) -> None:
    expected = Path(__file__).with_name("apps").joinpath("django_app.py").read_bytes()
    options = (*STRICT, "-W", "ignore:StreamingHttpResponse must consume synchronous iterators")  # Django's advice
    with serve("django_app:app", asyncio_flavour, python_options=options) as server:
        assert httpx.get(f"{server.url}/source/", trust_env=False).content == expected


def test_sync_view(client: httpx.Client) -> None:
    assert client.get("/sync_view/").json() == {"main_thread": False}


def test_form_upload(client: httpx.Client) -> None:
    files = {"upload": ("a.bin", os.urandom(3_000_000))}        # above what Django keeps in memory
    assert client.post("/upload/", data={"name": "picture"}, files=files).json() == {
        "name": "picture", "bytes": 3_000_000}


def test_streaming_response(client: httpx.Client) -> None:
    assert client.get("/stream/").text.split() == [str(number) for number in range(100)]


def test_a_client_that_leaves_is_not_an_error(asyncio_flavour: Flavour) -> None:
    """Django waits for ``http.disconnect`` beside the view, and cancels the view."""
    with serve("django_app:app", asyncio_flavour, python_options=STRICT) as server:
        with RawClient(server.address) as client:
            client.get("/hang/")
            server.stderr.wait_for("hanging")
        server.stderr.wait_for("the view is cancelled")
        with RawClient(server.address) as client:
            client.get("/endless/")
            assert client.receive_until(b"tick\n")
            client.reset()
        server.stderr.wait_for("the stream is cancelled")


def test_the_response_of_a_client_that_leaves_is_closed(asyncio_flavour: Flavour) -> None:
    """Django closes it only if the task that sends is cancelled before ``send()`` raises."""
    with serve("django_app:app", asyncio_flavour) as server:
        for _ in range(3):
            with RawClient(server.address) as client:
                client.get("/large/")
                assert client.receive_until(b"\r\n\r\n")
                client.reset()
            server.stderr.wait_for("the response is closed")


def test_an_exception_is_a_500_and_the_server_goes_on(asyncio_flavour: Flavour) -> None:
    with (
        serve("django_app:app", asyncio_flavour, errors_expected=True) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        assert client.get("/fail/").status_code == 500
        assert client.get("/async_view/").status_code == 200
