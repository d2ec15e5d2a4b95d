"""When the bytes of a response leave: together if the application does not wait, at once if it does (ASGI HTTP 2.5).

A memory stream keeps what was sent by one call as one piece, so the pieces show the system calls.
"""

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.serving import seconds_passed, serving
from tests.helpers.transcripts import get, ok, post, receive_response, status_of
from tests.helpers.virtual_clock import settled
from trioserve._streams.memory import MemoryClient
from trioserve._types import Receive, Scope, Send

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
KIB = 1024


async def pieces_of_response(client: MemoryClient) -> list[bytes]:
    """What each call sent, until the last chunk."""
    pieces = [await client.receive_some()]
    while not pieces[-1].endswith(b"0\r\n\r\n"):
        pieces.append(await client.receive_some())
    return pieces


# -- coalescing ------------------------------------------------------------------------------------------------------


async def test_head_and_body_leave_in_one_piece() -> None:
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(get())
        assert await client.receive_some() == ok(b"/")


async def test_parts_sent_back_to_back_leave_in_one_piece_when_the_application_ends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for body in (b"a", b"b", b"c"):
            await part(send, body)
        await part(send, b"", more=False)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        assert await pieces_of_response(client) == [CHUNKED + b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"]


@pytest.mark.parametrize("wait", [anyio.lowlevel.checkpoint, lambda: anyio.sleep(9)], ids=["checkpoint", "sleep"])
async def test_parts_leave_when_the_application_suspends(wait: Callable[[], Awaitable[None]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"a")
        await part(send, b"b")
        await wait()
        await part(send, b"c")
        await part(send, b"", more=False)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        assert await pieces_of_response(client) == [CHUNKED + b"1\r\na\r\n1\r\nb\r\n", b"1\r\nc\r\n0\r\n\r\n"]


async def test_a_part_leaves_while_the_application_waits() -> None:  # ASGI HTTP, "Response Body"
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"now")
        await anyio.sleep_forever()

    async with serving(app, timeout_graceful_shutdown=0) as site:
        client = site.connect()
        await client.send_all(get())
        with seconds_passed() as elapsed:
            assert await client.receive_some() == CHUNKED + b"3\r\nnow\r\n"
    assert elapsed.seconds == 0


async def test_the_head_alone_waits_for_the_first_part() -> None:  # ASGI HTTP, "Response Start"
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await anyio.sleep(1)
        await part(send, b"late", more=False)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        assert client.receive_nowait() is None
        assert await client.receive_some() == ok(b"late")


async def test_many_parts_leave_in_pieces_of_64_kib() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(160):
            await part(send, b"x" * KIB)
        await part(send, b"", more=False)

    async with serving(app, capacity=10_000 * KIB) as site:
        client = site.connect()
        await client.send_all(get())
        pieces = await pieces_of_response(client)
    assert len(pieces) == 3
    assert all(len(piece) < 70 * KIB for piece in pieces)


async def test_a_complete_response_leaves_although_the_application_works_on() -> None:  # background work
    done = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"done")
        await anyio.sleep(60)
        done.set()

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        with seconds_passed() as elapsed:
            assert await receive_response(client) == ok(b"done")
        await done.wait()
    assert elapsed.seconds == 0


# -- tasks of the application ----------------------------------------------------------------------------------------


async def test_a_child_task_of_the_application_sends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def child() -> None:
            await part(send, b"a")
            await part(send, b"b")
            await anyio.sleep(1)
            await part(send, b"c", more=False)

        await start(send)
        async with anyio.create_task_group() as children:
            children.start_soon(child)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        with seconds_passed() as elapsed:
            assert await client.receive_until(b"b\r\n") == CHUNKED + b"1\r\na\r\n1\r\nb\r\n"
        assert elapsed.seconds == 0
        assert await client.receive_until(b"0\r\n\r\n") == b"1\r\nc\r\n0\r\n\r\n"


async def test_parts_of_parent_and_child_keep_their_order() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        turn = anyio.Event()

        async def child() -> None:
            await part(send, b"2")
            turn.set()

        await start(send)
        async with anyio.create_task_group() as children:
            await part(send, b"1")
            children.start_soon(child)
            await turn.wait()
            await part(send, b"3", more=False)

    async with serving(app) as site:
        response = await site.answer_to(get())
    assert response == CHUNKED + b"1\r\n1\r\n1\r\n2\r\n1\r\n3\r\n0\r\n\r\n"


async def test_one_task_receives_while_another_sends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def read() -> None:
            body = await read_body(receive)
            await part(send, b"read %d" % len(body), more=False)

        await start(send)
        await part(send, b"reading, ")
        async with anyio.create_task_group() as children:
            children.start_soon(read)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"", length=200_000))
        await client.receive_until(b"reading, \r\n")
        await client.send_all(b"x" * 200_000)
        assert await client.receive_until(b"0\r\n\r\n") == b"b\r\nread 200000\r\n0\r\n\r\n"


# -- fairness --------------------------------------------------------------------------------------------------------


class EndlessSender:
    """Sends ``body`` again and again without ever waiting of its own accord; gives up when nobody else gets a turn."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.sent = 0
        self.cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/hello":
            return await hello(scope, receive, send)
        try:
            await start(send)
            while self.sent < 100_000:
                self.sent += 1
                await part(send, self.body)
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("body", [b"x", b"x" * 100_000, b""], ids=["small", "large", "empty"])
async def test_an_endless_sender_lets_others_run_and_can_be_cancelled(body: bytes, method: str) -> None:
    app = EndlessSender(body)
    async with serving(app) as site, anyio.create_task_group() as reading:
        client = site.connect()
        await client.send_all(get(method=method))
        reading.start_soon(client.receive_rest)
        assert await site.answer_to(get("/hello")) == ok(b"/hello")
        site.server.force_shutdown()
    assert app.cancelled
    assert app.sent < 20_000


async def test_a_fast_upload_lets_others_run() -> None:
    turns: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        turns.append(scope["path"])
        await reply(send)

    async with serving(app, capacity=100_000_000) as site:
        upload, other = site.connect(), site.connect()
        upload.send_nowait(post(b"", target="/upload", length=32 * 1024 * KIB))
        for _ in range(32):
            upload.send_nowait(b"x" * 1024 * KIB)
        other.send_nowait(get("/other"))
        await receive_response(upload)
    assert turns == ["/other", "/upload"]


# -- backpressure ----------------------------------------------------------------------------------------------------


async def test_a_slow_client_stops_the_application() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await start(send)
        for _ in range(100):
            await part(send, b"x" * 16 * KIB)
            sent += 16 * KIB
        await part(send, b"", more=False)

    async with serving(app, capacity=64 * KIB, timeout_write=None) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        assert 0 < sent <= 256 * KIB
        await anyio.sleep(3600)
        assert sent <= 256 * KIB
        assert len(await receive_response(client)) > 1600 * KIB
    assert sent == 1600 * KIB


@pytest.mark.parametrize("credit", [0, 64 * KIB])
async def test_a_slow_client_gets_all_of_the_last_response(credit: int) -> None:  # RFC 9112 §9.6
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"x" * 50 * KIB, headers=[(b"connection", b"close")])

    async with serving(app, capacity=KIB, credit=credit) as site:
        client = site.connect()
        await client.send_all(get())
        received = 0
        while data := await client.receive_some(KIB):
            received += len(data)
            await anyio.sleep(1)
        assert not client.lost
    assert received > 50 * KIB


async def test_a_slow_client_stops_a_child_task_of_the_application() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def child() -> None:
            nonlocal sent
            for _ in range(100):
                await part(send, b"x" * 16 * KIB)
                sent += 16 * KIB
            await part(send, b"", more=False)

        await start(send)
        async with anyio.create_task_group() as children:
            children.start_soon(child)

    async with serving(app, capacity=64 * KIB) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        assert sent <= 256 * KIB
        assert len(await receive_response(client)) > 1600 * KIB


async def test_a_slow_application_stops_the_client() -> None:
    read_now = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_now.wait()
        await reply(send, b"%d" % len(await read_body(receive)))

    async with serving(app, capacity=64 * KIB) as site:
        client = site.connect()
        client.send_nowait(post(b"x" * 2000 * KIB))
        await settled()
        assert client.unsent > 1800 * KIB
        read_now.set()
        assert await receive_response(client) == ok(b"%d" % (2000 * KIB))


async def test_a_client_that_floods_a_waiting_application_is_stopped() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        with anyio.move_on_after(60):
            await receive()
        await reply(send)

    async with serving(app, capacity=64 * KIB) as site:
        client = site.connect()
        client.send_nowait(get() + b"x" * 2000 * KIB)
        await anyio.sleep(59)
        assert client.unsent > 1800 * KIB
        assert status_of(await receive_response(client)) == 200


async def test_a_pipelining_client_that_does_not_read_is_stopped() -> None:
    served = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal served
        served += 1
        await reply(send, b"x" * KIB)

    async with serving(app, capacity=64 * KIB) as site:
        client = site.connect()
        client.send_nowait(get() * 1000)
        await settled()
        assert served < 200
        for _ in range(1000):
            await receive_response(client)
