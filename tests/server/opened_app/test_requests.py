"""An async context manager as the application: it surrounds all requests."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.openers import Opened, user
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, status_of
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


@pytest.mark.parametrize("lifespan", ["auto", "off"])
async def test_it_is_entered_before_the_first_request_and_left_after_the_last(lifespan: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await anyio.sleep(20)
        opened.events.append("request")
        await reply(send)

    opened = Opened(app)
    async with serving(opened.open, lifespan=lifespan) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
    assert opened.events == ["entered", "request", "left"]


async def test_requests_see_its_context_variables() -> None:
    @asynccontextmanager
    async def open_app() -> AsyncIterator[App]:
        user.set("of the manager")
        yield app

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        before = user.get()
        user.set("of a request")
        await reply(send, before.encode())

    for lifespan in ("auto", "off"):
        async with serving(open_app, lifespan=lifespan) as site:
            for _ in range(2):
                assert body_of(await site.answer_to(get())) == b"of the manager"
    assert user.get() == "nobody"


async def test_requests_use_its_task_group() -> None:
    ended: list[str] = []

    async def open_app() -> AsyncIterator[App]:
        async with anyio.create_task_group() as nursery:
            async def work(path: str) -> None:
                await anyio.sleep(20)
                ended.append(path)

            async def app(scope: Scope, receive: Receive, send: Send) -> None:
                nursery.start_soon(work, scope["path"])
                await reply(send)

            yield app

    with seconds_passed() as elapsed:
        async with serving(open_app) as site:
            assert status_of(await site.answer_to(get("/work"))) == 200
    assert ended == ["/work"]
    assert elapsed.seconds == 20


async def generate() -> AsyncIterator[App]:
    yield hello


@pytest.mark.parametrize("make", [lambda: Opened().open(), lambda: Opened().open, generate, lambda: generate])
async def test_objects_and_functions(make: Callable[[], Any]) -> None:
    async with serving(make()) as site:
        assert await site.answer_to(get()) == ok(b"/")


async def test_each_function_can_be_served_again() -> None:
    opened = Opened()
    for _ in range(2):
        async with serving(opened.open):
            pass
    assert opened.events == ["entered", "left"] * 2


async def test_an_application_of_asgi_2() -> None:
    def app(scope: Scope) -> Any:
        async def call(receive: Receive, send: Send) -> None:
            await reply(send, scope["asgi"]["version"].encode(), headers=[(b"content-length", b"3")])

        return call

    async with serving(Opened(app).open) as site:
        assert body_of(await site.answer_to(get())) == b"2.0"


@pytest.mark.real_clock  # its threads take real time
async def test_an_application_of_wsgi() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "4")])
        return [b"wsgi"]

    for interface in ("wsgi", "auto"):
        async with serving(Opened(app).open, interface=interface) as site:
            assert body_of(await site.answer_to(get())) == b"wsgi"


async def test_only_for_some_hosts() -> None:
    async with serving(Opened().open, server_name=["other"]) as site:
        assert status_of(await site.answer_to(get())) == 421
