"""A client that leaves: ``http.disconnect``, ``ClientDisconnected`` and ``on_disconnect`` (ASGI HTTP 2.4)."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest

from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post, receive_response
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryClient
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

DISCONNECT = {"type": "http.disconnect"}


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


async def leave_by_eof(client: MemoryClient) -> None:
    client.send_eof()


async def leave_by_close(client: MemoryClient) -> None:
    await client.aclose()


async def leave_by_reset(client: MemoryClient) -> None:
    client.abort()


LEAVE = pytest.mark.parametrize("leave", [leave_by_eof, leave_by_close, leave_by_reset])


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


# -- on_disconnect ---------------------------------------------------------------------------------------------------


class Worker:
    """Works for 60 s, answering after ``answer_at`` of them; notes how long it could."""

    def __init__(self, answer_at: float) -> None:
        self.answer_at = answer_at
        self.worked: list[float] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = anyio.current_time()
        try:
            await anyio.sleep(self.answer_at)
            await reply(send, b"done")
            await anyio.sleep(60 - self.answer_at)
        finally:
            self.worked.append(anyio.current_time() - began)


@LEAVE
async def test_cancel_ends_the_request_of_a_client_that_leaves(
    leave: Callable[[MemoryClient], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    app = Worker(answer_at=50)
    async with serving(app, on_disconnect="cancel") as site:
        client = site.connect()
        caplog.clear()
        await client.send_all(get("/work"))
        await anyio.sleep(5)
        await leave(client)
        await anyio.sleep(1)
        assert site.connections == 0
        [record] = caplog.records
    assert app.worked == [5.5]
    assert record.levelno == logging.INFO  # clients do that
    assert record.getMessage().startswith("client-disconnect: ended GET /work after ")
    assert "(Worker.__call__)" in record.getMessage()


async def test_cancel_watches_from_100_ms_on() -> None:
    app = Worker(answer_at=50)
    async with serving(app, on_disconnect="cancel") as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(0.01)
        client.abort()
        await anyio.sleep(1)
        assert site.connections == 0
    assert app.worked == pytest.approx([0.6])


async def test_cancel_leaves_work_after_the_response_alone() -> None:
    app = Worker(answer_at=5)
    async with serving(app, on_disconnect="cancel") as site:
        client = site.connect()
        await client.send_all(get())
        assert await receive_response(client) == ok(b"done")
        client.abort()
        await anyio.sleep(100)
    assert app.worked == [60.0]


async def test_cancel_does_not_disturb_clients_that_stay() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(5)
        await reply(send, await read_body(receive))

    async with serving(app, on_disconnect="cancel") as site:
        client = site.connect()
        for body in (b"one", b"two"):
            await client.send_all(post(body))
            assert await receive_response(client) == ok(body)
        await client.send_all(post(b"three") + post(b"four"))
        assert await receive_response(client) == ok(b"three")
        assert await receive_response(client) == ok(b"four")


async def test_cancel_watches_while_the_body_is_still_coming() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1)
        await reply(send, await read_body(receive))

    async with serving(app, on_disconnect="cancel") as site:
        client = site.connect()
        body = b"x" * 300_000
        client.send_nowait(post(b"", length=len(body)) + body)
        assert await receive_response(client) == ok(body)


class Streamer:
    """Streams for 60 s, a part each ten seconds if it sends at all; notes how long it could."""

    def __init__(self, *, listens: bool = False, sends: bool = False) -> None:
        self.listens = listens
        self.sends = sends
        self.worked: list[float] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            assert await receive() == DISCONNECT

        began = anyio.current_time()
        await read_body(receive)
        await start(send)
        await part(send, b"begun")
        try:
            async with anyio.create_task_group() as listening:
                if self.listens:
                    listening.start_soon(listen)
                for _ in range(6):
                    await anyio.sleep(10)
                    if self.sends:
                        with suppress(ClientDisconnected):
                            await part(send, b"more")
        finally:
            self.worked.append(anyio.current_time() - began)


@LEAVE
async def test_auto_ends_a_stream_whose_client_has_left(
    leave: Callable[[MemoryClient], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    app = Streamer()
    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get("/stream"))
        await anyio.sleep(5)
        await leave(client)
        await anyio.sleep(1)
        assert site.connections == 0
        record = caplog.records[-1]
    assert app.worked == [5.5]  # it had half a second to notice it
    assert record.levelno == logging.INFO
    assert record.getMessage().startswith("client-disconnect: ended GET /stream after ")


@LEAVE
async def test_auto_only_tells_an_application_that_listens(
    leave: Callable[[MemoryClient], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    app = Streamer(listens=True)
    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(5)
        await leave(client)
        await anyio.sleep(100)
    assert app.worked == [60.0]


@pytest.mark.parametrize(("mode", "app"), [("cancel", Worker(answer_at=50)), ("auto", Streamer())])
@pytest.mark.parametrize("grace", [0.0, 12.0])
async def test_how_long_an_application_goes_on(mode: str, app: Worker | Streamer, grace: float) -> None:
    app.worked.clear()
    async with serving(app, on_disconnect=mode, on_disconnect_grace=grace) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(5)
        client.abort()
        await anyio.sleep(grace + 1)
        assert site.connections == 0
    assert app.worked == [5 + grace]


async def test_an_application_may_end_in_its_own_way_within_the_grace(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    ended = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        assert await receive() == DISCONNECT
        await anyio.sleep(8)
        ended.append("in its own way")

    async with serving(app, on_disconnect="cancel", on_disconnect_grace=10) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(1)
        client.abort()
        await anyio.sleep(20)
        assert site.connections == 0
    assert ended == ["in its own way"]
    assert "client-disconnect" not in caplog.text


async def test_auto_leaves_an_application_alone_that_was_told_by_send() -> None:
    app = Streamer(sends=True)
    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(9.8)
        client.abort()
        await anyio.sleep(100)
    assert app.worked == [60.0]


async def test_auto_only_tells_an_application_whose_response_has_not_begun() -> None:
    app = Worker(answer_at=60)
    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        client.abort()
        await anyio.sleep(100)
    assert app.worked == [60.0]


async def test_auto_leaves_work_after_a_streamed_response_alone() -> None:
    worked: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"begun")
        await anyio.sleep(1)
        await part(send, b"", more=False)
        began = anyio.current_time()
        try:
            await anyio.sleep(60)
        finally:
            worked.append(anyio.current_time() - began)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await receive_response(client)
        client.abort()
        await anyio.sleep(100)
    assert worked == [60.0]


async def test_notify_lets_a_stream_go_on() -> None:
    app = Streamer()
    async with serving(app, on_disconnect="notify") as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        client.abort()
        await anyio.sleep(100)
    assert app.worked == [60.0]


async def test_notify_lets_the_application_finish() -> None:
    app = Worker(answer_at=60)
    async with serving(app, on_disconnect="notify") as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        client.abort()
        await anyio.sleep(100)
    assert app.worked == [60.0]


async def test_cancel_reaches_the_child_tasks_of_the_application() -> None:
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def child(name: str) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ended.append(name)

        async with anyio.create_task_group() as children:
            children.start_soon(child, "a")
            children.start_soon(child, "b")

    async with serving(app, on_disconnect="cancel") as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(5)
        client.abort()
        await settled()
    assert sorted(ended) == ["a", "b"]


async def test_other_connections_notice_nothing() -> None:
    async with serving(hello, on_disconnect="cancel") as site:
        staying, leaving = site.connect(), site.connect()
        await leaving.send_all(get())
        leaving.abort()
        await staying.send_all(get("/still"))
        assert await receive_response(staying) == ok(b"/still")
