"""WSGI applications (PEP 3333): environment, body, response, failures. Threads live in real time."""

import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.validate import validator

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, post, receive_response, status_of
from tests.helpers.ws_client import handshake

pytestmark = pytest.mark.real_clock

StartResponse = Callable[..., Any]


def answering(body: Callable[[dict[str, Any]], bytes]) -> Any:
    """An application that answers with what ``body`` makes of the environment."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        data = body(environ)
        start_response("200 OK", [("Content-Length", str(len(data)))])
        return [data]

    return app


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


# -- environment -----------------------------------------------------------------------------------------------------


async def test_the_environment() -> None:
    environ = await environ_of(get("/caf%C3%A9%20x/a?b=%20c", "content-type: text/plain", "x-some-field: 1, 2"))
    expected = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/caf\xc3\xa9 x/a", "QUERY_STRING": "b=%20c",
        "REQUEST_URI": "/caf%C3%A9%20x/a?b=%20c", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "a",
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


async def test_it_passes_the_validator_of_the_standard_library() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield environ["wsgi.input"].read(3)
        yield b"".join(environ["wsgi.input"])

    async with serving(validator(app), interface="wsgi") as site:
        assert b"hello\nworld" in (await site.answer_to(post(b"hello\nworld"))).replace(b"\r\n8\r\n", b"")


# -- request body ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [
    lambda file: file.read(),
    lambda file: file.read(4) + file.read(10**6),
    lambda file: b"".join(file),
    lambda file: b"".join(file.readlines()),
    lambda file: file.readline() + file.readline(2) + file.read() + file.read(),
])
async def test_reading_the_body(read: Callable[[io.BufferedReader], bytes]) -> None:
    body = b"line one\nline two\n" + b"x" * 200_000
    async with serving(answering(lambda environ: read(environ["wsgi.input"]))) as site:
        assert body_of(await site.answer_to(post(body))) == body
        chunked = get("/", "transfer-encoding: chunked", method="POST") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        assert body_of(await site.answer_to(chunked)) == body


async def test_a_body_that_is_not_read() -> None:
    async with serving(answering(lambda environ: b"fine")) as site:
        client = site.connect()
        await client.send_all(post(b"x" * 1000) + get())
        assert await receive_response(client) == ok(b"fine")
        assert await receive_response(client) == ok(b"fine")


async def test_a_client_that_leaves_in_its_body_is_an_oserror() -> None:
    failures: list[str] = []
    told = anyio.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as exc:
            failures.append(type(exc).__name__)
            raise
        finally:
            anyio.from_thread.run_sync(told.set)
        return []

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"x", length=5))
        client.abort()
        await told.wait()
    assert failures == ["ClientDisconnected"]


# -- response --------------------------------------------------------------------------------------------------------


async def test_the_head_comes_with_the_first_block(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("201 Made", [("X-One", "1")])
        yield b""
        yield b"a"
        yield b"bc"

    async with serving(app) as site:
        assert await site.answer_to(get()) == (
            b"HTTP/1.1 201 Created\r\nx-one: 1\r\ntransfer-encoding: chunked\r\n\r\n"
            b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")
    assert caplog.records == []


async def test_no_block_at_all() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        return []

    async with serving(app) as site:
        assert await site.answer_to(get()) == ok(b"")


async def test_a_block_is_on_its_way_before_the_next_is_made() -> None:
    go_on = threading.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        yield b"a"
        assert go_on.wait(30)
        yield b"b"

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        assert (await client.receive_until(b"\r\n\r\na")).endswith(b"a")
        go_on.set()
        assert await client.receive_exactly(1) == b"b"


async def test_the_write_callable() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "3")])
        write(b"ab")
        return [b"c"]

    async with serving(app) as site:
        assert await site.answer_to(get()) == ok(b"abc")


async def test_an_error_replaces_a_head_that_was_not_sent() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise ValueError
        except ValueError:
            start_response("500 Oops", [("Content-Length", "4")], sys.exc_info())
        return [b"oops"]

    async with serving(app) as site:
        response = await site.answer_to(get())
    assert (status_of(response), body_of(response)) == (500, b"oops")


async def test_an_error_after_the_head_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        try:
            raise ValueError("too late")
        except ValueError:
            start_response("500 Oops", [], sys.exc_info())

    async with serving(app) as site:
        assert (await site.everything_after(get())).endswith(b"1\r\na\r\n")
    assert "ValueError: too late" in caplog.text


@pytest.mark.parametrize(("app", "problem"), [
    (lambda environ, start_response: [b"a"], "without calling start_response"),
    (lambda environ, start_response: [], "without calling start_response"),
    (lambda environ, start_response: start_response("200 OK", []) and start_response("200 OK", []),
     "start_response was called twice"),
    (lambda environ, start_response: 1 / 0, "ZeroDivisionError"),
])
async def test_applications_that_fail(app: Any, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(app) as site:
        assert status_of(await site.everything_after(get())) == 500
    assert problem in caplog.text


@pytest.mark.parametrize("fails", [True, False])
async def test_what_was_returned_is_closed(fails: bool) -> None:
    class Blocks:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            yield b"a"
            if fails:
                raise ValueError

        def close(self) -> None:
            self.closed += 1

    blocks = Blocks()

    def app(environ: dict[str, Any], start_response: StartResponse) -> Blocks:
        start_response("200 OK", [])
        return blocks

    async with serving(app) as site:
        await site.everything_after(get("/", "connection: close"))
    assert blocks.closed == 1


# -- the server around it --------------------------------------------------------------------------------------------


async def test_calls_run_side_by_side_up_to_the_limit() -> None:
    barrier = threading.Barrier(2)

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        barrier.wait(30)            # passes when two are there
        start_response("200 OK", [("Content-Length", "0")])
        return []

    async with serving(app, wsgi_threads=2) as site:
        clients = [site.connect() for _ in range(4)]
        for client in clients:
            await client.send_all(get())
        for client in clients:
            assert await receive_response(client) == ok(b"")


async def test_a_call_that_does_not_end_does_not_hold_up_the_server(caplog: pytest.LogCaptureFixture) -> None:
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        try:
            began.set()
            assert go_on.wait(30)
            start_response("200 OK", [])
            return [b"nobody gets it"]
        finally:
            ended.set()

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.to_thread.run_sync(began.wait)
        site.server.force_shutdown()
        assert await client.receive_rest() == b""
    go_on.set()
    assert ended.wait(30)
    assert "shutdown-deadline: ended GET /" in caplog.text


async def test_it_has_no_lifespan(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    async with serving(answering(lambda environ: b""), lifespan="auto") as site:
        await site.answer_to(get())
    assert "The application has no lifespan (NotImplementedError)" in caplog.messages


async def test_a_websocket_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(answering(lambda environ: b"never called")) as site:
        assert status_of(await site.everything_after(handshake())) == 403
    assert not caplog.records
