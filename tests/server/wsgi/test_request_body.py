"""What a WSGI application reads from ``wsgi.input``, in which thread, and when its client leaves."""

import io
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, post, receive_response, status_of
from tests.helpers.wsgi_apps import StartResponse, answering, here, in_another_thread
from trioserve._errors import ClientDisconnected
from trioserve._server.application.thread_calls import Errands, LoopInbox
from trioserve._streams import caller_from_threads

pytestmark = pytest.mark.real_clock


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
