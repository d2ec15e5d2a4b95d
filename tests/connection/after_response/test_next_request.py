"""An application that works after its response does not hold up the next request of the connection."""

from collections.abc import Awaitable, Callable

import anyio
import pytest
from fastapi import BackgroundTasks, FastAPI

from tests.helpers.after_response import WORK_SECONDS, Worker, fetch
from tests.helpers.apps import reply
from tests.helpers.certificates import client_context, identity
from tests.helpers.serving import serving
from tests.helpers.stream_pairs import MemoryPeer, TlsPeer
from tests.helpers.transcripts import get, ok, receive_response, status_of
from trioserve._connection.http1 import GO_ON
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


def fastapi_app() -> tuple[FastAPI, list[str]]:
    app, done = FastAPI(), list[str]()

    @app.get("/work")
    async def work(tasks: BackgroundTasks) -> str:
        async def go_on() -> None:
            await anyio.sleep(WORK_SECONDS)
            done.append("work")

        tasks.add_task(go_on)
        return "accepted"

    @app.get("/next")
    async def following() -> str:
        return "next"

    return app, done


async def test_background_tasks_of_fastapi_hold_nobody_up() -> None:
    app, done = fastapi_app()
    async with serving(app) as site:
        client = site.connect()
        with seconds_passed() as elapsed:
            for target in ("/work", "/next", "/work", "/next"):
                [response] = await fetch(client, get(target))
                assert status_of(response) == 200
        assert elapsed.seconds == 0
        assert done == []
        await anyio.sleep(WORK_SECONDS)
        await settled()
        assert done == ["work", "work"]
        assert not client.is_disconnected()


def with_middleware(work: Callable[[], Awaitable[None]]) -> App:
    """A middleware that works when the application inside it has answered."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, scope["path"].encode())

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)
        if scope["path"] == "/work":
            await work()

    return middleware


async def test_middleware_that_works_after_the_response_holds_nobody_up() -> None:
    done: list[float] = []

    async def work() -> None:
        await anyio.sleep(WORK_SECONDS)
        done.append(anyio.current_time())

    async with serving(with_middleware(work)) as site:
        client = site.connect()
        with seconds_passed() as elapsed:
            assert await fetch(client, get("/work")) == [ok(b"/work")]
            assert await fetch(client, get("/next")) == [ok(b"/next")]
        assert elapsed.seconds == 0
        await anyio.sleep(WORK_SECONDS)
        await settled()
        assert len(done) == 1


async def test_pipelined_requests_do_not_wait_for_work() -> None:
    app = Worker()
    async with serving(app) as site:
        with seconds_passed() as elapsed:
            responses = await fetch(site.connect(), *map(get, ("/a", "/b", "/quick")))
        assert responses == [ok(b"/a"), ok(b"/b"), ok(b"/quick")]
        assert elapsed.seconds == 0
        await anyio.sleep(WORK_SECONDS)
    assert sorted(app.ends) == [("/a", "done"), ("/b", "done")]


async def test_http_1_0_does_not_wait_for_work() -> None:
    app = Worker()
    async with serving(app) as site:
        client = site.connect()
        with seconds_passed() as elapsed:
            await client.send_all(get("/a", version="1.0"))
            assert await client.receive_rest() == ok(b"/a", "connection: close")
        assert elapsed.seconds == 0
        assert not client.lost
        kept = site.connect()
        for _ in range(2):
            [response] = await fetch(kept, get("/a", "connection: keep-alive", version="1.0"))
            assert response == ok(b"/a", "connection: keep-alive")
        assert elapsed.seconds == 0
        await anyio.sleep(WORK_SECONDS)
    assert app.ends == [("/a", "done")] * 3


async def test_the_last_response_of_a_connection_ends_it_before_the_work_is_done() -> None:
    app = Worker()
    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get("/a", "connection: close"))
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == ok(b"/a", "connection: close")
        assert elapsed.seconds == 0
        assert site.connections == 1, "it lives as long as its tasks"
        await anyio.sleep(WORK_SECONDS)
        await settled()
        assert site.connections == 0
    assert app.ends == [("/a", "done")]


async def test_work_in_many_steps_does_not_disturb_the_requests_that_follow() -> None:
    app = Worker(steps=6)
    async with serving(app) as site:
        client = site.connect()
        for _ in range(3):
            assert await fetch(client, get("/a")) == [ok(b"/a")]
            with seconds_passed() as elapsed:
                assert await fetch(client, get("/slow")) == [ok(b"/slow")]
            assert elapsed.seconds == WORK_SECONDS
    assert app.ends == [("/a", "done")] * 3


async def test_work_in_many_steps_beside_a_response_that_is_read_slowly() -> None:
    app = Worker(seconds=8, steps=8)
    large = b"x" * 300_000

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/large":
            await reply(send, large)
        else:
            await app(scope, receive, send)

    async with serving(outer) as site:
        client = site.connect()
        assert await fetch(client, get("/a")) == [ok(b"/a")]
        await client.send_all(get("/large") + get("/quick"))
        received = b""
        expected = ok(large) + ok(b"/quick")
        while len(received) < len(expected):
            await anyio.sleep(0.4)
            received += await client.receive_some(20_000)
        assert received == expected
        assert await fetch(client, get("/quick")) == [ok(b"/quick")]
    assert app.ends == [("/a", "done")]


async def test_work_in_many_steps_beside_a_body_that_is_skipped() -> None:
    """A response that comes early; then the rest of the request's body is read past, while others work."""
    app = Worker(seconds=5, steps=50)
    async with serving(app) as site:
        client = site.connect()
        assert await fetch(client, get("/a")) == [ok(b"/a")]
        await client.send_all(get("/quick", "content-length: 10", method="POST"))
        assert await receive_response(client) == ok(b"/quick")
        for _ in range(10):
            await anyio.sleep(0.3)
            await client.send_all(b".")
        assert await fetch(client, get("/b")) == [ok(b"/b")]
        assert await fetch(client, get("/quick")) == [ok(b"/quick")]
        await anyio.sleep(10)
    assert sorted(app.ends) == [("/a", "done"), ("/b", "done")]


async def test_a_bounded_number_goes_on_and_then_the_connection_waits() -> None:
    app = Worker()
    async with serving(app) as site:
        client = site.connect()
        with seconds_passed() as elapsed:
            for _ in range(GO_ON + 1):
                assert await fetch(client, get("/a")) == [ok(b"/a")]
        assert elapsed.seconds == 0
        await settled()
        assert app.working == GO_ON + 1
        with seconds_passed() as elapsed:
            assert await fetch(client, get("/quick")) == [ok(b"/quick")]
        assert elapsed.seconds == WORK_SECONDS
        with seconds_passed() as elapsed:
            assert await fetch(site.connect(), get("/a")) == [ok(b"/a")]
        assert elapsed.seconds == 0, "each connection counts for itself"
        await anyio.sleep(WORK_SECONDS)
        await settled()
        assert app.working == 0
        with seconds_passed() as elapsed:
            for _ in range(GO_ON + 1):
                assert await fetch(client, get("/a")) == [ok(b"/a")]
        assert elapsed.seconds == 0, "what has ended makes room"
        await anyio.sleep(WORK_SECONDS)
    assert app.ends == [("/a", "done")] * (2 * (GO_ON + 1) + 1)


async def test_a_pipeline_of_many_requests_with_work_has_no_more_tasks_than_that() -> None:
    app = Worker()
    most = 0

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal most
        most = max(most, app.working + 1)
        await app(scope, receive, send)

    async with serving(counting) as site:
        client = site.connect()
        assert await fetch(client, *[get("/a")] * 50) == [ok(b"/a")] * 50
        await anyio.sleep(WORK_SECONDS)
    assert most == GO_ON + 1
    assert len(app.ends) == 50


async def test_tls() -> None:
    app = Worker()
    async with serving(app, ssl_context=identity().context) as site:
        peer = TlsPeer(MemoryPeer(site.connect()), client_context())
        with seconds_passed() as elapsed:
            for target in ("/a", "/quick", "/b", "/quick"):
                await peer.send(get(target))
                expected, received = ok(target.encode()), b""
                while len(received) < len(expected):
                    received += await peer.receive()
                assert received == expected
        assert elapsed.seconds == 0
        assert app.working == 2
        await anyio.sleep(WORK_SECONDS)
        peer.close()
    assert sorted(app.ends) == [("/a", "done"), ("/b", "done")]


async def test_what_the_work_raises_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        await anyio.sleep(WORK_SECONDS)
        raise ValueError("in the work")

    async with serving(with_middleware(work)) as site:
        client = site.connect()
        assert await fetch(client, get("/work")) == [ok(b"/work")]
        await anyio.sleep(2 * WORK_SECONDS)
        assert await fetch(client, get("/next")) == [ok(b"/next")]
    [record] = caplog.records
    assert record.getMessage() == "Exception in the application, serving GET /work"


async def test_what_the_work_raises_while_the_next_request_runs(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/work":
            await reply(send, b"work")
            await anyio.sleep(1)
            raise ValueError("in the work")
        await anyio.sleep(2)
        await reply(send, b"next")

    async with serving(app) as site:
        client = site.connect()
        assert await fetch(client, get("/work"), get("/next")) == [ok(b"work"), ok(b"next")]
        assert await fetch(client, get("/next")) == [ok(b"next")]
    assert len(caplog.records) == 1
