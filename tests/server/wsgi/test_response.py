"""What a WSGI application answers: its blocks, ``write()``, and when they leave."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, status_of
from tests.helpers.wsgi_apps import StartResponse, in_another_thread
from trioserve._errors import ClientDisconnected

pytestmark = pytest.mark.real_clock


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
