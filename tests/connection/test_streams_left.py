"""A streaming response whose client leaves: what its application hears, and when it is cancelled."""

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from tests.helpers.apps import part, read_body, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import data_of, get, receive_response
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryClient
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


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
