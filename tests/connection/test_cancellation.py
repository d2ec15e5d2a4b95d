"""A connection cancelled at each of its awaits in turn: its stream is closed, and nothing of it is left."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import part, read_body, reply, start
from tests.helpers.cancelling import VICTIM, Application, at_every_await, has_ended
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, ok, post, receive_response
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryClient
from trioserve._types import Receive, Send
from trioserve.testing import seconds_passed, settled

Conversation = Callable[[MemoryClient], Awaitable[None]]


class Waiting(Application):
    """Waits in every way an application can."""

    async def hello(self, receive: Receive, send: Send) -> None:
        await reply(send, b"hello")

    async def echo(self, receive: Receive, send: Send) -> None:
        await reply(send, await read_body(receive))

    async def stream(self, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(3):
            await part(send, b"tick")
            await anyio.sleep(1)
        await part(send, b"", more=False)

    async def large(self, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(4):
            await part(send, b"x" * 100_000)
        await part(send, b"", more=False)

    async def files(self, receive: Receive, send: Send) -> None:
        await start(send)
        with open(__file__, "rb") as file:  # noqa: ASYNC230  # it is in memory
            for _ in range(20):
                await send({"type": "http.response.zerocopysend", "file": file, "offset": 0, "more_body": True})
        await send({"type": "http.response.body"})

    async def children(self, receive: Receive, send: Send) -> None:
        async def child() -> None:
            self.inside += 1
            try:
                await anyio.sleep(1)
                await part(send, b"from a child")
            finally:
                self.inside -= 1

        await start(send)
        async with anyio.create_task_group() as children:
            children.start_soon(child)
            children.start_soon(child)
        await part(send, b"", more=False)

    async def background(self, receive: Receive, send: Send) -> None:
        await reply(send, b"done")
        await anyio.sleep(5)

    async def watch(self, receive: Receive, send: Send) -> None:
        async def wait_for_disconnect() -> None:
            await receive()

        async with anyio.create_task_group() as watching:
            watching.start_soon(wait_for_disconnect)
            watching.start_soon(wait_for_disconnect)
            await anyio.sleep(1)
            await reply(send, b"done")

    async def clean_up(self, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep(1)
        finally:
            with anyio.move_on_after(5, shield=True):
                await anyio.sleep(1)
        await reply(send)

    async def fail(self, receive: Receive, send: Send) -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError


async def requests_in_a_row(client: MemoryClient) -> None:
    for target in ("/hello", "/stream", "/children", "/background", "/watch", "/clean_up"):
        await client.send_all(get(target))
        await receive_response(client)


async def pipelined_requests(client: MemoryClient) -> None:
    await client.send_all(get("/hello") + post(b"body", target="/echo") + get("/stream") + get("/hello"))
    for _ in range(4):
        await receive_response(client)


async def an_expected_body(client: MemoryClient) -> None:
    await client.send_all(post(b"", "expect: 100-continue", target="/echo", length=6))
    await client.receive_until(b"\r\n\r\n")
    for piece in (b"ab", b"cd", b"ef"):
        await client.send_all(piece)
        await settled()
    await receive_response(client)


async def an_unread_body(client: MemoryClient) -> None:
    await client.send_all(post(b"un", target="/hello", length=6))
    await receive_response(client)
    await client.send_all(b"re")
    await settled()
    await client.send_all(b"ad" + get("/hello"))
    await receive_response(client)


async def a_body_too_large_to_skip(client: MemoryClient) -> None:
    await client.send_all(post(b"x" * 1000, target="/hello", length=1_000_000))
    await receive_response(client)
    await client.send_all(b"x" * 200_000)


async def a_slow_reader(client: MemoryClient) -> None:
    await client.send_all(get("/large"))
    for _ in range(20):
        await anyio.sleep(1)
        await client.receive_exactly(20_000)
    await client.receive_until(b"0\r\n\r\n")


async def a_slow_reader_of_files(client: MemoryClient) -> None:
    await client.send_all(get("/files"))
    for _ in range(5):
        await anyio.sleep(1)
        await client.receive_exactly(20_000)
    await client.receive_until(b"0\r\n\r\n")


async def a_malformed_request(client: MemoryClient) -> None:
    await client.send_all(get("/hello") + b"nonsense\r\n\r\n")
    await receive_response(client)
    await receive_response(client)
    await client.send_all(b"more nonsense")


async def a_failing_application(client: MemoryClient) -> None:
    await client.send_all(get("/fail"))
    await receive_response(client)


async def a_silent_client_at_first(client: MemoryClient) -> None:
    await client.send_all(get("/hello"))
    await receive_response(client)


async def a_silent_client(client: MemoryClient) -> None:
    await a_silent_client_at_first(client)
    await client.receive_some()  # until keep-alive ends


async def a_client_that_leaves(client: MemoryClient) -> None:
    await client.send_all(get("/stream"))
    await client.receive_some()
    client.abort()


CONVERSATIONS: list[Conversation] = [
    requests_in_a_row, pipelined_requests, an_expected_body, an_unread_body, a_body_too_large_to_skip, a_slow_reader,
    a_slow_reader_of_files, a_malformed_request, a_failing_application, a_silent_client, a_client_that_leaves]
OPTIONS: list[Any] = [
    pytest.param({}, id="defaults"),
    pytest.param({"on_disconnect": "cancel", "timeout_request": 600, "limit_concurrency": 1, "limit_connections": 1},
                 id="everything watched")]


@pytest.mark.parametrize("at_deadline", [False, True], ids=["from outside", "at the deadline"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_cancelled_at_every_await(
    conversation: Conversation, options: dict[str, Any], at_deadline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        app = Waiting()
        async with serving(app, **options) as site:
            client = site.listener.connect(VICTIM)
            try:
                await conversation(client)
                client.send_eof()
            except (ClientDisconnected, EOFError):
                pass  # cancelled under way
            await assert_ended(site, app, client)

    struck = await at_every_await(monkeypatch, scenario, at_deadline=at_deadline)
    assert struck > 0 or conversation is a_silent_client  # where each request has a task, an idle connection has none


async def test_an_idle_connection_is_cancelled_with_its_nursery() -> None:
    app = Waiting()
    async with serving(app) as site:
        client = site.connect()
        await a_silent_client_at_first(client)
        nursery = site.only_connection.nursery
        assert nursery is not None
        nursery.cancel()
        with seconds_passed() as elapsed:
            await assert_ended(site, app, client)
        assert elapsed.seconds == 10  # of which it needed none


async def assert_ended(site: Site, app: Application, client: MemoryClient) -> None:
    await has_ended(site, app, client)
    assert await site.answer_to(get("/hello")) == ok(b"hello")  # every slot has been given back


async def test_cancelled_while_it_waits_for_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        app = Waiting()
        async with serving(app, limit_concurrency=1) as site:
            holder, client = site.connect(), site.listener.connect(VICTIM)
            await holder.send_all(get("/clean_up"))
            await anyio.sleep(1.5)
            client.send_nowait(get("/stream"))
            client.send_eof()
            await client.receive_rest()
            assert await receive_response(holder) == ok(b"")
            await holder.aclose()
            await assert_ended(site, app, client)

    assert await at_every_await(monkeypatch, scenario) > 3


async def test_others_notice_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serving(Waiting()) as site, anyio.create_task_group() as clients:
            client, other = site.listener.connect(VICTIM), site.connect()

            @clients.start_soon
            async def disturb() -> None:
                with suppress(ClientDisconnected, EOFError):
                    await requests_in_a_row(client)

            await requests_in_a_row(other)
            await pipelined_requests(other)

    assert await at_every_await(monkeypatch, scenario) > 10
