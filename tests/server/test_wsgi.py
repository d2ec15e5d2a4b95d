"""WSGI applications (PEP 3333): environment, body, response, failures. Threads live in real time."""

import io
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from wsgiref.validate import validator

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, post, receive_response, status_of
from tests.helpers.ws_client import handshake
from trioserve._errors import ClientDisconnected
from trioserve._server.application.thread_calls import Errands, LoopInbox
from trioserve._streams import caller_from_threads

pytestmark = pytest.mark.real_clock

T = TypeVar("T")
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


# -- request body ----------------------------------------------------------------------------------------------------


def here(function: Callable[..., T], *args: Any) -> T:
    return function(*args)


def in_another_thread(function: Callable[..., T], *args: Any) -> T:
    """Called in a thread of the application's own, which no event loop knows."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *args).result(30)


@pytest.mark.parametrize("where", [here, in_another_thread])
@pytest.mark.parametrize("read", [
    lambda file: file.read(),
    lambda file: file.read(4) + file.read(10**6),
    lambda file: b"".join(file),
    lambda file: b"".join(file.readlines()),
    lambda file: file.readline() + file.readline(2) + file.read() + file.read(),
])
async def test_reading_the_body(read: Callable[[io.BufferedReader], bytes], where: Callable[..., bytes]) -> None:
    body = b"line one\nline two\n" + b"x" * 200_000
    async with serving(answering(lambda environ: where(read, environ["wsgi.input"]))) as site:
        assert body_of(await site.answer_to(post(body))) == body
        chunked = get("/", "transfer-encoding: chunked", method="POST") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        assert body_of(await site.answer_to(chunked)) == body


async def test_a_body_that_is_not_read() -> None:
    async with serving(answering(lambda environ: b"fine")) as site:
        client = site.connect()
        await client.send_all(post(b"x" * 1000) + get())
        assert await receive_response(client) == ok(b"fine")
        assert await receive_response(client) == ok(b"fine")


async def test_a_body_that_came_with_its_head_is_there_at_once() -> None:
    """So it can be read where nobody may wait for the event loop: in the loop's own thread."""
    token = anyio.lowlevel.current_token()
    app = answering(lambda environ: anyio.from_thread.run_sync(environ["wsgi.input"].read, token=token))
    chunked = get("/", "transfer-encoding: chunked", method="POST") + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    async with serving(app) as site:
        assert body_of(await site.answer_to(post(b"x" * 20_000))) == b"x" * 20_000
        assert body_of(await site.answer_to(chunked)) == b"abc"
        assert body_of(await site.answer_to(post(b""))) == b""


async def test_a_body_that_comes_in_pieces() -> None:
    async with serving(answering(lambda environ: environ["wsgi.input"].read())) as site:
        client = site.connect()
        await client.send_all(post(b"ab", length=6))
        for piece in (b"cd", b"ef"):
            await anyio.sleep(0.02)
            await client.send_all(piece)
        assert body_of(await receive_response(client)) == b"abcdef"


async def test_a_call_begins_before_its_body_has_come() -> None:
    async with serving(answering(lambda environ: b"no, thanks")) as site:
        client = site.connect()
        await client.send_all(post(length=5))
        assert (await client.receive_until(b"no, thanks")).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("reads", [True, False])
async def test_a_client_is_asked_for_its_body_when_the_application_reads(reads: bool) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        body = environ["wsgi.input"].read() if reads else b"unread"
        start_response("200 OK", [])
        return [body]

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"", "expect: 100-continue", length=3))
        if reads:
            await client.receive_until(b"HTTP/1.1 100 Continue\r\n\r\n")
            await client.send_all(b"abc")
        response = await client.receive_until(b"abc" if reads else b"unread")
        assert response.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_threads_may_take_turns_in_reading() -> None:
    def read(environ: dict[str, Any]) -> bytes:
        file = environ["wsgi.input"]
        return b"".join([file.read(2), in_another_thread(file.read, 2), file.read(2), in_another_thread(file.read)])

    async with serving(answering(read)) as site:
        assert body_of(await site.answer_to(post(b"x" * 100_000))) == b"x" * 100_000


async def test_reading_in_an_event_loop_of_the_applications_own() -> None:
    def read(environ: dict[str, Any]) -> bytes:
        async def view() -> bytes:
            await anyio.lowlevel.checkpoint()
            return environ["wsgi.input"].read()  # type: ignore[no-any-return]

        body: bytes = in_another_thread(anyio.run, view)
        return body

    async with serving(answering(read)) as site:
        assert body_of(await site.answer_to(post(b"x" * 100_000))) == b"x" * 100_000


@pytest.mark.parametrize("where", [here, in_another_thread])
async def test_a_client_that_leaves_in_its_body_is_an_oserror(where: Callable[..., bytes]) -> None:
    failures: list[str] = []
    told, token = anyio.Event(), anyio.lowlevel.current_token()

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        try:
            where(environ["wsgi.input"].read)
        except OSError as exc:
            failures.append(type(exc).__name__)
            raise
        finally:
            anyio.from_thread.run_sync(told.set, token=token)
        return []

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"x", length=5))
        client.abort()
        await told.wait()
    assert failures == ["ClientDisconnected"]


class Reader(threading.Thread):
    """Reads a body in its own time, and keeps what it is told."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__()
        self.file = file
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            self.file.read()
        except Exception as exc:
            self.failure = exc


def assert_told(reader: Reader) -> None:
    reader.join(30)
    assert isinstance(reader.failure, ClientDisconnected)


async def test_a_thread_that_reads_when_its_request_ends() -> None:
    readers: list[Reader] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        environ["wsgi.input"].read(1)
        readers.append(Reader(environ["wsgi.input"]))
        readers[0].start()
        start_response("200 OK", [("Content-Length", "0")])
        return []

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"x", length=2))
        assert (await receive_response(client)).startswith(b"HTTP/1.1 200 OK\r\n")
        await client.aclose()
        await anyio.to_thread.run_sync(assert_told, readers[0])


async def test_a_thread_that_reads_after_the_end_of_its_request() -> None:
    files: list[io.BufferedReader] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        files.append(environ["wsgi.input"])
        start_response("200 OK", [("Content-Length", "0")])
        return []

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"x", length=2))
        await receive_response(client)
        await client.aclose()
        for _ in range(2):
            reader = Reader(files[0])
            reader.start()
            await anyio.to_thread.run_sync(assert_told, reader)
            assert "the request has ended" in str(reader.failure)


async def test_a_thread_that_reads_when_its_request_is_cancelled() -> None:
    readers: list[Reader] = []
    reading, ended = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        try:
            environ["wsgi.input"].read(1)
            readers.append(Reader(environ["wsgi.input"]))
            readers[0].start()
            reading.set()
            readers[0].join(30)
            return []
        finally:
            ended.set()

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"x", length=2))
        await anyio.to_thread.run_sync(reading.wait)
        site.server.force_shutdown()
        await anyio.to_thread.run_sync(assert_told, readers[0])
        assert await anyio.to_thread.run_sync(ended.wait, 30)


async def test_the_event_loops_own_thread_is_not_made_to_wait_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    token = anyio.lowlevel.current_token()
    app = answering(lambda environ: anyio.from_thread.run_sync(environ["wsgi.input"].read, token=token))
    async with serving(app) as site:
        assert status_of(await site.everything_after(post(b"x", length=2))) == 500
    assert "in the thread of the server's event loop" in caplog.text


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_thread_that_asks_an_event_loop_that_has_ended(backend: str) -> None:
    async def begin() -> Errands:
        async with anyio.create_task_group() as nursery:
            errands = Errands(nursery, LoopInbox(caller_from_threads()))
        return errands

    errands = anyio.run(begin, backend=backend)
    with pytest.raises(ClientDisconnected, match="the request has ended"):
        in_another_thread(errands.run, anyio.sleep, 0)


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


class Sized:
    """An iterable that knows its length and is no list."""

    def __init__(self, *blocks: bytes) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.blocks)


class Unsized(Sized):
    def __len__(self) -> int:
        raise NotImplementedError


@pytest.mark.parametrize("blocks", [[b"whole"], (b"whole",), Sized(b"whole")])
async def test_one_block_is_a_body_whose_length_is_known(blocks: Any) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        return blocks

    async with serving(app) as site:
        assert await site.answer_to(get()) == ok(b"whole")
        head = await site.everything_after(get("/", "connection: close", method="HEAD"))
        assert head == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"  # applications may leave its body out


@pytest.mark.parametrize("answer", [
    lambda: [b"who", b"le"], lambda: iter([b"whole"]), lambda: Unsized(b"whole")])
async def test_other_iterables_are_sent_as_they_come(answer: Callable[[], Any]) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        return answer()

    async with serving(app) as site:
        assert (await site.answer_to(get())).startswith(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("body", [b"", b"not to be sent"])
async def test_one_block_where_there_is_no_body(status: str, body: bytes) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response(status, [])
        return [body]

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get() + get("/", "connection: close"))
        received = await client.receive_rest()
        assert received.count(status.encode()) == 2
        assert b"transfer-encoding" not in received and b"not to be sent" not in received


async def test_one_block_after_others_were_written() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])(b"ab")
        return [b"c"]

    async with serving(app) as site:
        assert (await site.answer_to(get())).endswith(b"\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")


async def test_a_length_that_the_application_gives_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("Content-Length", environ["PATH_INFO"][1:])])
        return [b"whole"]

    async with serving(app) as site:
        assert await site.answer_to(get("/5")) == ok(b"whole")
        assert status_of(await site.everything_after(get("/6"))) == 500
    assert "1 bytes shorter than its content-length" in caplog.text


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


async def test_parts_after_a_pause_leave_at_once() -> None:
    go_on = threading.Semaphore(0)

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "8")])
        for _ in range(4):
            yield b"a"
            yield b"b"
            assert go_on.acquire(timeout=30)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        assert (await client.receive_until(b"\r\n\r\nab")).endswith(b"ab")
        for _ in range(3):
            go_on.release()
            assert await client.receive_exactly(2) == b"ab"
        go_on.release()


@pytest.mark.parametrize("size", [1, 1000, 200_000])
async def test_an_application_waits_for_a_client_that_does_not_read(size: int) -> None:
    made = 0
    closed = threading.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        nonlocal made
        start_response("200 OK", [])
        try:
            while True:
                made += 1
                yield b"x" * size
        finally:
            closed.set()

    async with serving(app, capacity=1000) as site:
        client = site.connect()
        await client.send_all(get())
        seen = -1
        while made != seen:  # until it makes no more
            seen = made
            await anyio.sleep(0.1)
        assert made * size < 2**20 and made < 20_000
        await client.receive_exactly(2**18)
        assert made > seen or size == 200_000
        client.abort()
        assert await anyio.to_thread.run_sync(closed.wait, 30)


async def test_a_response_does_not_wait_for_close() -> None:
    has_response, closed = threading.Event(), threading.Event()

    class Blocks(list[bytes]):
        def close(self) -> None:
            if has_response.wait(30):
                closed.set()

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        return Blocks([b"whole"])

    async with serving(app) as site:
        assert await site.answer_to(get()) == ok(b"whole")
        has_response.set()
        assert await anyio.to_thread.run_sync(closed.wait, 30)


async def test_what_fails_in_close_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Blocks(list[bytes]):
        def close(self) -> None:
            raise ValueError("in close")

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        return Blocks([b"whole"])

    async with serving(app) as site:
        assert await site.answer_to(get("/path")) == ok(b"whole")
    assert "serving GET /path" in caplog.text and "ValueError: in close" in caplog.text


async def test_a_wrong_message_is_told_to_who_writes_next(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Exception] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [("bad name", "x")])
        try:
            while True:
                write(b"x" * 100_000)
        except Exception as exc:
            told.append(exc)
            raise

    async with serving(app) as site:
        assert status_of(await site.everything_after(get())) == 500
    assert "bad name" in str(told[0])
    assert "bad name" in caplog.text


async def test_a_wrong_message_that_nobody_was_told_of_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("bad name", "x")])
        return [b"whole"]

    async with serving(app) as site:
        assert status_of(await site.everything_after(get())) == 500
    assert "bad name" in caplog.text


async def test_the_write_callable() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "3")])
        write(b"ab")
        return [b"c"]

    async with serving(app) as site:
        assert await site.answer_to(get()) == ok(b"abc")


async def test_writing_in_another_thread() -> None:
    class Blocks(list[bytes]):
        def close(self) -> None:
            closed.append(threading.current_thread() is not threading.main_thread())

    closed: list[bool] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = in_another_thread(start_response, "200 OK", [("Content-Length", "300003")])
        for _ in range(3):
            in_another_thread(write, b"x" * 100_000)
        write(b"y")
        return Blocks([b"z", b"z"])

    async with serving(app) as site:
        assert await site.answer_to(get()) == ok(b"x" * 300_000 + b"yzz")
    assert closed == [True]


async def test_a_client_that_leaves_while_another_thread_writes() -> None:
    failures: list[Exception] = []
    ended = threading.Event()

    class Blocks:
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"x" * 100_000

        def close(self) -> None:
            ended.set()

    def app(environ: dict[str, Any], start_response: StartResponse) -> Blocks:
        write = start_response("200 OK", [])
        try:
            while True:
                in_another_thread(write, b"x" * 100_000)
        except OSError as exc:
            failures.append(exc)
            return Blocks()

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_until(b"\r\n\r\n")
        client.abort()
        assert await anyio.to_thread.run_sync(ended.wait, 30)
    assert [type(failure) for failure in failures] == [ClientDisconnected]


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
    (lambda environ, start_response: start_response("2000 OK", []), "status '2000 OK'"),
    (lambda environ, start_response: start_response("200OK", []), "status '200OK'"),
    (lambda environ, start_response: start_response(b"200 OK", []), "status b'200 OK'"),
    (lambda environ, start_response: 1 / 0, "ZeroDivisionError"),
    (lambda environ, start_response: sys.exit(3), "SystemExit: 3"),
])
async def test_applications_that_fail(app: Any, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(app) as site:
        assert status_of(await site.everything_after(get())) == 500
    assert problem in caplog.text
    assert "ExceptionGroup" not in caplog.text


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


async def test_a_call_whose_request_has_ended_before_its_turn_is_not_made() -> None:
    began, go_on = threading.Event(), threading.Event()
    paths: list[str] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        paths.append(environ["PATH_INFO"])
        began.set()
        assert go_on.wait(30)
        start_response("200 OK", [])
        return [b"ended"]

    async with serving(app, wsgi_threads=1) as site:
        first, second = site.connect(), site.connect()
        await first.send_all(get("/first"))
        await anyio.to_thread.run_sync(began.wait)
        await second.send_all(get("/second"))
        await anyio.sleep(0.05)
        site.server.force_shutdown()
        assert await second.receive_rest() == b""
    go_on.set()
    assert paths == ["/first"]


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
    assert re.search(r"waiting at \S+wsgi_outbox\.py:\d+ \(Outbox\.wait_for_thread\)", caplog.text)


async def test_it_has_no_lifespan(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    async with serving(answering(lambda environ: b""), lifespan="auto") as site:
        await site.answer_to(get())
    assert "The application has no lifespan (NotImplementedError)" in caplog.messages


async def test_a_websocket_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(answering(lambda environ: b"never called")) as site:
        assert status_of(await site.everything_after(handshake())) == 403
    assert not caplog.records
