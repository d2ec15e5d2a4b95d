"""When the bytes of a response leave: before ``send`` returns, but for parts back to back (ASGI HTTP 2.5).

A memory stream keeps what was sent by one call as one piece, so the pieces show the system calls.
"""

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post, receive_response
from tests.helpers.work_clock import WorkClock
from trioserve._streams.memory import MemoryClient
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

pytestmark = pytest.mark.usefixtures("work_clock")

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
KIB = 1024


async def pieces_of_response(client: MemoryClient) -> list[bytes]:
    """What each call sent, until the last chunk."""
    pieces = [await client.receive_some(1000 * KIB)]
    while not pieces[-1].endswith(b"0\r\n\r\n"):
        pieces.append(await client.receive_some(1000 * KIB))
    return pieces


def tokens_of(clock: WorkClock, seconds: float) -> App:
    """An application that computes for each of ten parts, and never waits."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for number in range(10):
            await part(send, b"%d" % number)
            clock.compute(seconds)
        await part(send, b"", more=False)

    return app


def everything_at(client: MemoryClient) -> bytes:
    """All that has reached ``client``."""
    return b"".join(iter(client.receive_nowait, None))


def content_of(pieces: bytes) -> bytes:
    """Of whole chunks, perhaps with the head before them."""
    content, rest = b"", pieces.removeprefix(CHUNKED)
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        content += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return content


# -- coalescing ------------------------------------------------------------------------------------------------------


async def test_head_and_body_leave_in_one_piece() -> None:
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(get())
        assert await client.receive_some() == ok(b"/")


async def test_the_first_part_leaves_at_once_and_those_back_to_back_with_it_in_one_piece() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for body in (b"a", b"b", b"c"):
            await part(send, body)
        await part(send, b"", more=False)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        assert await pieces_of_response(client) == [CHUNKED + b"1\r\na\r\n", b"2\r\nbc\r\n0\r\n\r\n"]


@pytest.mark.parametrize("wait", [anyio.lowlevel.checkpoint, lambda: anyio.sleep(9)], ids=["checkpoint", "sleep"])
async def test_parts_leave_when_the_application_suspends(wait: Callable[[], Awaitable[None]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for body in (b"a", b"b", b"c"):
            await part(send, body)
        await wait()
        for body in (b"d", b"e", b"f"):
            await part(send, body)
        await part(send, b"", more=False)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        assert await pieces_of_response(client) == [
            CHUNKED + b"1\r\na\r\n", b"2\r\nbc\r\n", b"1\r\nd\r\n", b"2\r\nef\r\n0\r\n\r\n"]


async def test_a_part_after_a_pause_leaves_before_send_returns(work_clock: WorkClock) -> None:
    async with serving(tokens_of(work_clock, 0.3)) as site:
        client = site.connect()
        await client.send_all(get())
        pieces = await pieces_of_response(client)
    assert pieces == [CHUNKED + b"1\r\n0\r\n", *(b"1\r\n%d\r\n" % number for number in range(1, 10)), b"0\r\n\r\n"]


async def test_parts_collect_for_a_millisecond(work_clock: WorkClock) -> None:
    async with serving(tokens_of(work_clock, 0.0003)) as site:
        client = site.connect()
        await client.send_all(get())
        pieces = await pieces_of_response(client)
    assert [content_of(piece) for piece in pieces] == [b"0", b"1234", b"5678", b"9"]


async def test_who_computes_between_parts_makes_its_client_wait_only_once(work_clock: WorkClock) -> None:
    """What is sent before the first long computation waits for its end; whatever comes later does not."""
    left: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(3):
            for body in (b"a", b"b", b"c"):
                await part(send, body)
            left.append(content_of(everything_at(client)))
            work_clock.compute(0.3)
        await part(send, b"", more=False)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
    assert left == [b"a", b"bcabc", b"abc"]


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


async def test_no_more_than_128_kib_collect() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(320):
            await part(send, b"x" * KIB)
        await part(send, b"", more=False)

    async with serving(app, capacity=10_000 * KIB) as site:
        client = site.connect()
        await client.send_all(get())
        pieces = await pieces_of_response(client)
    assert len(pieces) == 4
    assert all(len(piece) < 130 * KIB for piece in pieces)


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
