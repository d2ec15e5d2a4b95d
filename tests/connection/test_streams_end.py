"""Responses of several parts that do not end as they should: what was sent arrives, and the cut is seen."""

import logging
from collections.abc import AsyncIterator

import anyio
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from tests.helpers.apps import part, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import data_of, get, looks_whole, post, receive_response, status_of
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryClient
from trioserve._types import App, Message, Receive, Scope, Send
from trioserve.testing import settled

LENGTH = [(b"content-length", b"1000000")]
FRAMINGS = pytest.mark.parametrize("framing", ["chunked", "length", "http-1.0"])


def request_for(framing: str) -> bytes:
    return get("/", version="1.0" if framing == "http-1.0" else "1.1")


def headers_for(framing: str) -> list[tuple[bytes, bytes]]:
    return LENGTH if framing == "length" else []


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


def fails_after_a_large_part(framing: str) -> App:
    """An application; the part before the large one is still being collected when that comes."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=headers_for(framing))
        await part(send, b"x")
        await part(send, b"y" * 100_000)
        raise ValueError("the application's")

    return app


@FRAMINGS
async def test_a_large_part_that_had_collected_is_not_lost(framing: str) -> None:
    async with serving(fails_after_a_large_part(framing)) as site:
        client = site.connect()
        await client.send_all(request_for(framing))
        response = await read_slowly(client)
        assert data_of(response) == b"x" + b"y" * 100_000
        assert not looks_whole(response, client)


@FRAMINGS
async def test_a_client_that_reads_nothing_of_it_is_dropped_by_the_write_timeout(framing: str) -> None:
    async with serving(fails_after_a_large_part(framing), timeout_write=8) as site:
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
