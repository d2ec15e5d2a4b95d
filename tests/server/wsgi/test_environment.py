"""The environment of a WSGI application (PEP 3333). Threads live in real time."""

from collections.abc import Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from tests.helpers.serving import serving
from tests.helpers.transcripts import get, post, status_of
from tests.helpers.wsgi_apps import StartResponse

pytestmark = pytest.mark.real_clock


async def environ_of(request: bytes, **options: Any) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [])
        return []

    async with serving(app, **options) as site:
        assert status_of(await site.answer_to(request)) == 200
    [environ] = seen
    return environ


async def test_the_environment() -> None:
    environ = await environ_of(get("/caf%C3%A9%20x/a?b=%20c", "content-type: text/plain", "x-some-field: 1, 2"))
    expected = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/caf\xc3\xa9 x/a", "QUERY_STRING": "b=%20c",
        "REQUEST_URI": "/caf%C3%A9%20x/a?b=%20c", "RAW_URI": "/caf%C3%A9%20x/a?b=%20c",
        "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "a",
        "CONTENT_TYPE": "text/plain", "HTTP_X_SOME_FIELD": "1, 2", "REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "50000",
        "wsgi.url_scheme": "http", "wsgi.version": (1, 0), "wsgi.multithread": True, "wsgi.run_once": False,
    }
    assert {name: environ[name] for name in expected} == expected
    assert "HTTP_CONTENT_TYPE" not in environ


async def test_the_path_below_a_prefix() -> None:
    environ = await environ_of(get("/a"), root_path="/pre\xe9")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/pre\xc3\xa9", "/a")


async def test_repeated_fields_are_joined() -> None:
    environ = await environ_of(get("/", "accept: a", "cookie: x=1", "accept: b", "cookie: y=2"))
    assert environ["HTTP_ACCEPT"] == "a,b"
    assert environ["HTTP_COOKIE"] == "x=1; y=2"


async def test_fields_that_would_be_mistaken_are_dropped() -> None:
    environ = await environ_of(get("/", "x_user: root", "x-user: guest", "proxy: http://evil"))
    assert environ["HTTP_X_USER"] == "guest"
    assert "HTTP_PROXY" not in environ


async def test_a_chunked_body_is_not_announced_as_one() -> None:
    environ = await environ_of(get("/", "transfer-encoding: chunked", method="POST") + b"0\r\n\r\n")
    assert environ["wsgi.input_terminated"] is True
    assert "HTTP_TRANSFER_ENCODING" not in environ and "CONTENT_LENGTH" not in environ


async def test_it_passes_the_validator_of_the_standard_library() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield environ["wsgi.input"].read(3)
        yield b"".join(environ["wsgi.input"])

    async with serving(validator(app), interface="wsgi") as site:
        assert b"hello\nworld" in (await site.answer_to(post(b"hello\nworld"))).replace(b"\r\n8\r\n", b"")
