"""What ``--on-disconnect`` does to the request of a client that leaves."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest

from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.leaving import DISCONNECT, LEAVE
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, ok, post, receive_response
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryClient
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


async def ask_and_leave(site: Site, *, after: float) -> None:
    """A client sends a request, and leaves without a word ``after`` so many seconds."""
    client = site.connect()
    await client.send_all(get())
    await anyio.sleep(after)
    client.abort()


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
        await ask_and_leave(site, after=0.01)
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
        await ask_and_leave(site, after=5)
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
        await ask_and_leave(site, after=1)
        await anyio.sleep(20)
        assert site.connections == 0
    assert ended == ["in its own way"]
    assert "client-disconnect" not in caplog.text


async def test_auto_leaves_an_application_alone_that_was_told_by_send() -> None:
    app = Streamer(sends=True)
    async with serving(app) as site:
        await ask_and_leave(site, after=9.8)
        await anyio.sleep(100)
    assert app.worked == [60.0]


async def test_auto_only_tells_an_application_whose_response_has_not_begun() -> None:
    app = Worker(answer_at=60)
    async with serving(app) as site:
        await ask_and_leave(site, after=1)
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
        await ask_and_leave(site, after=1)
        await anyio.sleep(100)
    assert app.worked == [60.0]


async def test_notify_lets_the_application_finish() -> None:
    app = Worker(answer_at=60)
    async with serving(app, on_disconnect="notify") as site:
        await ask_and_leave(site, after=1)
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
        await ask_and_leave(site, after=5)
        await settled()
    assert sorted(ended) == ["a", "b"]


async def test_other_connections_notice_nothing() -> None:
    async with serving(hello, on_disconnect="cancel") as site:
        staying, leaving = site.connect(), site.connect()
        await leaving.send_all(get())
        leaving.abort()
        await staying.send_all(get("/still"))
        assert await receive_response(staying) == ok(b"/still")
