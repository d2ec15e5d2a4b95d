"""Responses of several parts that do not end as they should: what was sent arrives, and the cut is seen."""

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from tests.helpers.apps import part, read_body, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, looks_whole, post, receive_response, status_of
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryClient
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import settled

LENGTH = [(b"content-length", b"1000000")]
FRAMINGS = pytest.mark.parametrize("framing", ["chunked", "length", "http-1.0"])


def request_for(framing: str) -> bytes:
    return get("/", version="1.0" if framing == "http-1.0" else "1.1")


def headers_for(framing: str) -> list[tuple[bytes, bytes]]:
    return LENGTH if framing == "length" else []


def data_of(response: bytes) -> bytes:
    """The letters of a body; chunks' sizes have none that tests send."""
    return bytes(byte for byte in response.partition(b"\r\n\r\n")[2] if byte in b"xyz")


async def read_slowly(client: MemoryClient, count: int = 20_000, every: float = 0.5) -> bytes:
    """Until the end, whichever it is."""
    received = b""
    try:
        while data := await client.receive_some(count):
            received += data
            await anyio.sleep(every)
    except ClientDisconnected:
        pass
    return received


def access_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "trioserve.access"]


# -- the application raises ------------------------------------------------------------------------------------------


@FRAMINGS
@pytest.mark.parametrize("parts", [1, 2, 5])
async def test_parts_leave_although_the_application_then_raises(
    framing: str, parts: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a wait in between."""
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=headers_for(framing))
        for _ in range(parts):
            await part(send, b"xyz")
        raise ValueError("the application's")

    caplog.set_level(logging.INFO)
    async with serving(app, access_log=True) as site:
        client = site.connect()
        await client.send_all(request_for(framing))
        response = await client.receive_rest()
        assert status_of(response) == 200
        assert data_of(response) == b"xyz" * parts
        assert not looks_whole(response, client)
        assert client.lost == (framing == "http-1.0")
        await client.aclose()
        await settled()
        assert site.connections == 0
    [line] = access_lines(caplog)
    assert f" 200 OK {3 * parts} B " in line


@FRAMINGS
async def test_a_slow_client_gets_all_that_was_sent_before_the_application_raised(framing: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=headers_for(framing))
        for _ in range(10):
            await part(send, b"x" * 90_000)
        raise ValueError("the application's")

    async with serving(app, timeout_write=20) as site:
        client = site.connect()
        await client.send_all(request_for(framing))
        response = await read_slowly(client, every=10)
        assert len(data_of(response)) == 900_000
        assert not looks_whole(response, client)
        await client.aclose()


@FRAMINGS
async def test_a_large_part_that_had_collected_is_not_lost(framing: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=headers_for(framing))
        await part(send, b"x")
        await part(send, b"y" * 100_000)
        raise ValueError("the application's")

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(request_for(framing))
        response = await read_slowly(client)
        assert data_of(response) == b"x" + b"y" * 100_000
        assert not looks_whole(response, client)


@FRAMINGS
async def test_a_client_that_reads_nothing_of_it_is_dropped_by_the_write_timeout(framing: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=headers_for(framing))
        await part(send, b"x")
        await part(send, b"y" * 100_000)
        raise ValueError("the application's")

    async with serving(app, timeout_write=8) as site:
        client = site.connect()
        await client.send_all(request_for(framing))
        await settled()
        assert site.connections == 1
        await anyio.sleep(7.9)
        assert site.connections == 1
        await anyio.sleep(1.2)
        await settled()
        assert site.connections == 0


@FRAMINGS
async def test_parts_before_a_wrong_message(framing: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=headers_for(framing))
        await part(send, b"xyz")
        await part(send, b"xyz")
        await send({"type": "nonsense"})

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(request_for(framing))
        response = await client.receive_rest()
        assert data_of(response) == b"xyzxyz"
        assert not looks_whole(response, client)


@FRAMINGS
async def test_parts_before_an_application_returns_too_early(framing: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=headers_for(framing))
        await part(send, b"x")
        await part(send, b"y" * 100_000)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(request_for(framing))
        response = await read_slowly(client)
        assert data_of(response) == b"x" + b"y" * 100_000
        assert not looks_whole(response, client)


async def test_fastapi_that_streams_and_fails(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()

    @app.get("/")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"x" * 100
            yield b"y" * 100
            raise ValueError("the generator's")

        return StreamingResponse(parts())

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        response = await client.receive_rest()
        assert data_of(response) == b"x" * 100 + b"y" * 100
        assert not looks_whole(response, client)
        assert not client.lost


# -- the end of a shutdown -------------------------------------------------------------------------------------------


@FRAMINGS
async def test_the_deadline_of_a_shutdown_ends_a_stream_so_that_all_of_it_arrives(framing: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=headers_for(framing))
        await part(send, b"x" * 60_000)
        await anyio.sleep(1)
        await part(send, b"y" * 30_000)
        await anyio.sleep_forever()

    async with serving(app, timeout_graceful_shutdown=5) as site:
        client = site.connect()
        await client.send_all(request_for(framing))
        await anyio.sleep(2)
        site.server.request_shutdown("test")
        await anyio.sleep(5)
        response = await read_slowly(client, every=0.1)
        assert data_of(response) == b"x" * 60_000 + b"y" * 30_000
        assert not looks_whole(response, client)
        assert client.lost == (framing == "http-1.0")


# -- after the response ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"some body", b"x" * 200_000])
async def test_receive_says_disconnect_after_a_response_although_the_body_is_unread(body: bytes) -> None:
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"early")
        messages.extend([await receive(), await receive()])

    async with serving(app) as site:
        client = site.connect()
        client.send_nowait(post(body))
        assert status_of(await receive_response(client)) == 200
        await settled()
        assert messages == [{"type": "http.disconnect"}] * 2


@pytest.mark.parametrize("length", [8, 1_000_000])
async def test_a_receive_that_waits_for_the_body_hears_of_the_complete_response(
    length: int, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[str, float]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            assert (await receive())["body"] == b"half"
            heard.append(((await receive())["type"], anyio.current_time() - began))

        began = anyio.current_time()
        async with anyio.create_task_group() as children:
            children.start_soon(listen)
            await anyio.sleep(1)
            await reply(send, b"early")

    async with serving(app, timeout_body=30) as site:
        client = site.connect()
        client.send_nowait(post(b"half", length=length))
        assert (await receive_response(client)).endswith(b"early")
        await anyio.sleep(3)
        if length == 8:  # so little is skipped
            await client.send_all(b"rest" + post(b"half"))
            assert (await receive_response(client)).endswith(b"early")
        await anyio.sleep(100)
    assert heard[0] == ("http.disconnect", 1.0)
    assert not caplog.records


async def test_receive_says_disconnect_after_a_response_whose_body_was_read_in_part() -> None:
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        messages.append(await receive())
        await reply(send, b"early")
        messages.append(await receive())

    async with serving(app) as site:
        client = site.connect()
        client.send_nowait(post(b"half", length=8))
        assert status_of(await receive_response(client)) == 200
        await settled()
        assert messages == [
            {"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
        await client.send_all(b"rest" + get())
        assert status_of(await receive_response(client)) == 200


# -- a streaming response whose client leaves ------------------------------------------------------------------------


class Streaming:
    """Notes how it ended, and when."""

    def __init__(self, run: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._run = run
        self.ends: list[tuple[str, float]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        how = "cancelled"
        try:
            await self._run(scope, receive, send)
            how = "returned"
        except Exception as exc:
            how = type(exc).__name__
            raise
        finally:
            self.ends.append((how, anyio.current_time()))


async def wait_after_a_part(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await part(send, b"part")
    await anyio.sleep(3600)
    with contextlib.suppress(ClientDisconnected):
        await part(send, b"", more=False)


async def wait_before_the_first_part(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await anyio.sleep(3600)


async def wait_unanswered(scope: Scope, receive: Receive, send: Send) -> None:
    await read_body(receive)
    await anyio.sleep(3600)
    with contextlib.suppress(ClientDisconnected):
        await reply(send, b"late")


async def listen_and_clean_up(scope: Scope, receive: Receive, send: Send) -> None:
    await read_body(receive)
    await start(send)
    await part(send, b"part")
    assert (await receive())["type"] == "http.disconnect"
    await anyio.sleep(3600)


async def listen_unanswered(scope: Scope, receive: Receive, send: Send) -> None:
    await read_body(receive)
    assert (await receive())["type"] == "http.disconnect"
    await anyio.sleep(3600)


async def listen_in_a_child(scope: Scope, receive: Receive, send: Send) -> None:
    """As Starlette does for servers of ASGI before 2.4."""
    async def listen() -> None:
        assert (await receive())["type"] == "http.disconnect"
        await anyio.sleep(10)
        children.cancel_scope.cancel()

    await read_body(receive)
    await start(send)
    await part(send, b"part")
    async with anyio.create_task_group() as children:
        children.start_soon(listen)
        await anyio.sleep(3600)


async def send_on(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    while True:
        await part(send, b"part")
        await anyio.sleep(0.1)


def leave_by_reset(client: MemoryClient) -> None:
    client.abort()


def leave_by_close(client: MemoryClient) -> None:
    while client.receive_nowait():
        pass
    assert client.close_nowait()


HOUR = 3600.0
LEAVING = [
    # What the application does, what the option says, how it ends and when: seconds after the client has left.
    (wait_after_a_part, "auto", "cancelled", 0.5),
    (wait_after_a_part, "cancel", "cancelled", 0.5),
    (wait_after_a_part, "notify", "returned", HOUR),
    (wait_before_the_first_part, "auto", "cancelled", 0.5),
    (wait_unanswered, "auto", "returned", HOUR),
    (wait_unanswered, "cancel", "cancelled", 0.5),
    (wait_unanswered, "notify", "returned", HOUR),
    (listen_and_clean_up, "auto", "returned", HOUR),
    (listen_and_clean_up, "cancel", "cancelled", 0.5),
    (listen_unanswered, "auto", "returned", HOUR),
    (listen_in_a_child, "auto", "returned", 10.0),
    (send_on, "auto", "ClientDisconnected", 0.2),
    (send_on, "notify", "ClientDisconnected", 0.2),
]


@pytest.mark.parametrize("leave", [leave_by_reset, leave_by_close])
@pytest.mark.parametrize(
    ("run", "on_disconnect", "how", "after"), LEAVING, ids=[f"{case[0].__name__}-{case[1]}" for case in LEAVING])
async def test_a_client_that_leaves(
    run: Callable[[Scope, Receive, Send], Awaitable[None]], on_disconnect: str, how: str, after: float,
    leave: Callable[[MemoryClient], None], caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    app = Streaming(run)
    async with serving(app, on_disconnect=on_disconnect) as site:
        client = site.connect()
        await client.send_all(get("/path"))
        await anyio.sleep(3.05)
        leave(client)
        left = anyio.current_time()
        await anyio.sleep(2 * HOUR)
        await settled()
        assert site.connections == 0
    [(ended, at)] = app.ends
    assert ended == how
    assert at - left <= after + 0.01
    assert at - left >= (after - 3.06 if after == HOUR else after - 0.2)
    lines = [record for record in caplog.records if "ended GET" in record.getMessage()]
    assert len(lines) == (how == "cancelled")
    for line in lines:
        assert line.levelno == logging.INFO
        assert line.getMessage().startswith("client-disconnect: ended GET /path after ")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_a_generator_of_fastapi_whose_client_left_is_cancelled() -> None:
    """Its dependencies with it."""
    app, ends = FastAPI(), list[str]()

    @app.get("/")
    async def stream() -> StreamingResponse:
        async def tokens() -> AsyncIterator[str]:
            try:
                yield "first"
                await anyio.Event().wait()
            finally:
                ends.append("generator")

        return StreamingResponse(tokens())

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_until(b"first\r\n")
        await anyio.sleep(10)
        client.abort()
        await anyio.sleep(0.6)
        await settled()
        assert ends == ["generator"]
        assert site.connections == 0


async def test_who_stays_is_not_cancelled_and_may_pipeline() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"x")
        await anyio.sleep(100)
        await part(send, b"y", more=False)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(5)
        await client.send_all(get())
        for _ in range(2):
            assert data_of(await receive_response(client)) == b"xy"
