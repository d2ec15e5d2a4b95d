"""What an application hears of a client that leaves: ``http.disconnect``, ``ClientDisconnected`` (ASGI HTTP 2.4)."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from tests.helpers.apps import part, read_body, reply, start
from tests.helpers.leaving import DISCONNECT, LEAVE
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post, receive_response
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryClient
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


async def is_disconnected(receive: Receive) -> bool:
    """As Starlette asks: an event that is there is returned although the scope is cancelled already."""
    message: Message = {}
    with anyio.CancelScope() as cancelled:
        cancelled.cancel()
        message = await receive()
    return message == DISCONNECT


# -- receive() -------------------------------------------------------------------------------------------------------


async def test_disconnect_follows_the_complete_response() -> None:  # ASGI HTTP, "Disconnect"
    after: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, await read_body(receive))
        after.extend([await receive(), await receive()])

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"body"))
        await receive_response(client)
        await settled()
        assert after == [DISCONNECT, DISCONNECT]
        assert not client.is_disconnected()


async def test_disconnect_reaches_a_receive_that_waits_already() -> None:
    waited: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def watch() -> None:
            began = anyio.current_time()
            assert await receive() == DISCONNECT
            waited.append(anyio.current_time() - began)

        await read_body(receive)
        async with anyio.create_task_group() as watching:
            watching.start_soon(watch)
            watching.start_soon(watch)
            await anyio.sleep(5)
            await reply(send, b"done")

    async with serving(app) as site:
        client = site.connect()
        for _ in range(2):
            await client.send_all(get())
            assert await receive_response(client) == ok(b"done")
        assert not client.is_disconnected()
    assert waited == [5.0] * 4


@LEAVE
async def test_disconnect_when_the_client_leaves(leave: Callable[[MemoryClient], Awaitable[None]]) -> None:
    received: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        received.extend([await receive(), await receive(), await receive()])

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"body"))
        await anyio.sleep(5)
        assert received == []
        await leave(client)
        await settled()
    assert received == [DISCONNECT] * 3


async def test_receive_waits_while_the_client_stays() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        with anyio.move_on_after(3600) as patience:
            await receive()
        await reply(send, b"%d" % patience.cancelled_caught)

    async with serving(app) as site:
        assert await site.answer_to(get()) == ok(b"1")


async def test_receive_waits_although_the_next_request_is_there() -> None:  # RFC 9112 §9.3.2
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        with anyio.move_on_after(60) as patience:
            await receive()
        await reply(send, b"%d" % patience.cancelled_caught)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(5)
        await client.send_all(post(b"pipelined"))
        assert await receive_response(client) == ok(b"1")
        assert await receive_response(client) == ok(b"1")


async def test_an_event_that_is_there_comes_without_a_checkpoint() -> None:
    events: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope() as cancelled:
            cancelled.cancel()
            events.append((await receive())["body"] == b"body")
        events.append(await is_disconnected(receive))
        await anyio.sleep(10)
        events.append(await is_disconnected(receive))

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"body"))
        await anyio.sleep(5)
        client.send_eof()
        await client.receive_rest()
    assert events == [True, False, True]


async def test_asking_again_and_again_whether_the_client_is_there_changes_nothing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        answers = [await is_disconnected(receive) for _ in range(100)]
        await reply(send, b"%d" % sum(answers))

    async with serving(app) as site:
        assert await site.answer_to(get()) == ok(b"0")


# -- send() ----------------------------------------------------------------------------------------------------------


async def test_send_raises_once_the_client_has_gone() -> None:  # ASGI HTTP, "Disconnected Client"
    raised: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(10)
        for _ in range(2):
            try:
                await reply(send)
            except OSError as exc:
                raised.append(exc)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        client.abort()
        await anyio.sleep(11)
    assert [type(exc) for exc in raised] == [ClientDisconnected, ClientDisconnected]


async def test_send_raises_when_the_client_goes_while_it_waits(caplog: pytest.LogCaptureFixture) -> None:
    raised: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        try:
            await part(send, b"x" * 1_000_000)
        except OSError as exc:
            raised.append(exc)
            raise

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_some()
        with seconds_passed() as elapsed:
            client.abort()
            await settled()
        assert site.connections == 0
    assert isinstance(raised[0], ClientDisconnected)
    assert elapsed.seconds == 0
    assert not caplog.records


@LEAVE
async def test_send_raises_once_the_application_has_been_told(
    leave: Callable[[MemoryClient], Awaitable[None]]
) -> None:
    told: list[Message | str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        told.append(await receive())
        try:
            await reply(send, b"to whom?")
        except ClientDisconnected:
            told.append("raised")

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(5)
        await leave(client)
        assert await client.receive_rest() == b""
    assert told == [DISCONNECT, "raised"]


async def raise_from_group(send: Send) -> None:
    async with anyio.create_task_group() as children:
        children.start_soon(reply, send)
        children.start_soon(anyio.sleep_forever)


async def raise_from_nested_groups(send: Send) -> None:
    async with anyio.create_task_group() as outer:
        outer.start_soon(raise_from_group, send)
        outer.start_soon(raise_from_group, send)


@pytest.mark.parametrize("send_reply", [reply, raise_from_group, raise_from_nested_groups])
async def test_client_disconnected_is_no_error(
    send_reply: Callable[[Send], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(10)
        await send_reply(send)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        client.abort()
        await anyio.sleep(11)
        assert site.connections == 0
    assert not caplog.records


async def test_another_error_beside_client_disconnected_is_logged_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("the application's own")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(10)
        async with anyio.create_task_group() as children:
            children.start_soon(reply, send)
            children.start_soon(fail)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        client.abort()
        await anyio.sleep(11)
    [record] = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ExceptionGroup)
    assert [type(exc) for exc in record.exc_info[1].exceptions] == [ValueError]
