"""Chaos finds each planted fault that shows under it, at its line, and nothing in applications that are right."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import StreamingResponse
from litestar import Litestar, get
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from trio.testing import MockClock

from tests.check.zoo import REQUESTS, line_of, load_zoo
from tests.helpers.apps import hello, part, read_body, reply, start
from trioserve._types import Receive, Scope, Send
from trioserve.testing import ChaosFailed, chaos
from trioserve.testing.chaos_rounds import explore

FAULTS = [  # module, kind, request, point, where
    ("swallowed_cancellation", "swallowed", "GET /", "cancel@0", "return await ask_the_warehouse()"),
    ("unshielded_finally", "cut", "GET /", "cancel@1", "await anyio.sleep(0.01)  # a message to a database"),
    ("shared_state", "overtaken", "GET /?ann", "pause@0", None),
    ("count_not_restored", "state", "GET /", "cancel@0", None),
    ("unclosed_stream", "state", "GET /", "leave@0", None),
    ("interrupted_startup", "cut", "", "startup@1", "await anyio.sleep(0.01)  # another one"),
    ("forgotten_await", "warning", "", "", 'remember(scope["path"])  # type'),
    ("deaf_websocket", "endless", "WS /", "", "        message = await receive()"),
]


@pytest.mark.parametrize(("name", "kind", "request_", "point", "code"), FAULTS, ids=[fault[0] for fault in FAULTS])
async def test_a_planted_fault_is_found(name: str, kind: str, request_: str, point: str, code: str | None) -> None:
    report = await explore(load_zoo(name).app, REQUESTS.get(name, ["GET /"]))
    finding = report.findings[0]
    assert {found.kind for found in report.findings} == {kind}
    assert (finding.request, finding.point) == (request_, point)
    if code is not None:
        assert finding.where.startswith(line_of(name, code))


@pytest.mark.parametrize("name", [fault[0] for fault in FAULTS])
async def test_its_twin_is_right(name: str) -> None:
    report = await chaos(load_zoo(name).mended, REQUESTS.get(name, ["GET /"]))
    assert report.rounds >= 6


@pytest.mark.parametrize("name", [fault[0] for fault in FAULTS if fault[3]])
async def test_a_point_shows_it_again(name: str) -> None:
    found = await explore(load_zoo(name).app, REQUESTS.get(name, ["GET /"]))
    again = await explore(load_zoo(name).app, REQUESTS.get(name, ["GET /"]), points=[found.findings[0].point])
    assert again.findings[0] == found.findings[0]
    assert again.rounds < found.rounds or found.rounds == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_task_of_nobody_is_found() -> None:
    report = await explore(load_zoo("leaked_task").app)
    [finding] = report.findings
    assert finding.kind == "left-behind"
    assert finding.where.startswith(line_of("leaked_task", "await asyncio.sleep(5)"))
    assert (await chaos(load_zoo("leaked_task").mended)).rounds == 6


@pytest.mark.trio
async def test_a_system_task_of_trio_is_found(autojump_clock: MockClock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        trio.lowlevel.spawn_system_task(trio.sleep, 1000)
        await reply(send)

    report = await explore(app)
    assert [finding.kind for finding in report.findings] == ["left-behind"]


# What else counts.


async def test_an_error_in_place_of_cancellation() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        try:
            await anyio.sleep(1)
        except BaseException as exc:
            raise ValueError("the warehouse does not answer") from exc
        await reply(send)

    report = await explore(app)
    assert [(finding.kind, finding.point) for finding in report.findings] == [("swallowed", "cancel@0")]
    assert "ended with ValueError" in report.findings[0].text


async def test_an_application_that_cannot_be_ended() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        done = False
        while not done:
            try:
                await anyio.sleep(1)
                done = True
            except BaseException:
                continue
        await reply(send)

    report = await explore(app, points=["cancel@0"])
    assert [finding.kind for finding in report.findings] == ["swallowed"]
    assert "would never have ended" in report.findings[0].text


async def test_a_lock_that_stays_taken() -> None:
    def new_app() -> Any:
        slot = anyio.Semaphore(1)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert scope["type"] == "http"
            await slot.acquire()
            await anyio.sleep(0.1)
            slot.release()
            await reply(send)

        return app

    report = await explore(new_app, factory=True, points=["cancel@0"])
    assert [finding.kind for finding in report.findings] == ["silent"]


async def test_a_request_that_fails_without_chaos() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        raise ValueError("no hats")

    report = await explore(app)
    assert report.rounds == 0
    [finding] = report.findings
    assert (finding.kind, finding.request) == ("answer", "GET /")
    assert finding.text == "it is answered by 500: ValueError: no hats"
    assert "test_chaos.py:" in finding.where


async def test_another_request_suffers() -> None:
    """The first one leaves its mark while it is away."""
    busy: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        if scope["path"] == "/b":
            if busy:
                raise KeyError("busy")
            await reply(send)
            return
        busy.append(1)
        try:
            await anyio.sleep(1)
        finally:
            busy.clear()
        await reply(send)

    report = await explore(app, ["GET /a", "GET /b"], points=["pause@0"])
    assert [(finding.kind, finding.request) for finding in report.findings] == [("unrelated", "GET /a")]
    assert "GET /b gets status 500 in place of 200: KeyError: 'busy'" in report.findings[0].text


async def test_leaving_in_the_middle_of_an_upload() -> None:
    """The client has gone at every message; what the application does then must not harm others."""
    broken_off: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        assert not broken_off
        try:
            await read_body(receive)
        except EOFError:
            broken_off.append(scope["path"])
            return
        await reply(send)

    report = await explore(app, ["POST /upload some"])
    assert ("state", "leave@0") in {(finding.kind, finding.point) for finding in report.findings}


async def test_failing_says_how_to_see_it_again() -> None:
    with pytest.raises(ChaosFailed) as caught:
        await chaos(load_zoo("swallowed_cancellation").app)
    text = str(caught.value)
    assert text.startswith("1 found in 6 rounds\n  swallowed: it was cancelled, and went on to its end")
    assert "Again: chaos(app, [..., 'GET /', ...], points=['cancel@0'])" in text
    assert caught.value.report.rounds == 6


async def test_a_seed_chooses_the_rounds() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        for _ in range(20):
            await anyio.sleep(0.1)
        await reply(send)

    assert (await chaos(app, rounds=5)).rounds == 5
    assert (await chaos(app)).rounds == 3 * 20 + 3


@pytest.mark.parametrize(("argument", "text"), [
    ({"requests": ["/"]}, "'/' is no request: METHOD PATH"),
    ({"requests": ["GET no-slash"]}, "is no request"),
    ({"points": ["cancel"]}, "'cancel' is no point: KIND@NUMBER, such as cancel@3"),
    ({"points": ["stop@1"]}, "where KIND is one of cancel, leave, pause, slow, shutdown, startup, cleanup"),
    ({"points": ["cancel@-1"]}, "is no point"),
])  # fmt: skip
async def test_what_is_written_wrong(argument: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        await chaos(hello, **argument)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_task_group_of_asyncio_at_its_end() -> None:
    """It catches a cancellation that comes while it waits for its children, as Django 6 lets it do."""

    class Answered(Exception):
        pass

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        try:
            async with asyncio.TaskGroup() as children:
                children.create_task(asyncio.sleep(3600))
                await asyncio.sleep(1)
                raise Answered
        except* Answered:
            pass
        await asyncio.sleep(1)
        await reply(send)

    assert (await chaos(app)).rounds > 6


async def test_a_nursery_that_is_held_up_at_its_end_while_its_client_leaves() -> None:
    """What it waited for has come, and must reach it before the cancellation does."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await start(send, headers=[(b"content-type", b"text/event-stream")])
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(anyio.sleep, 0.1)
        while True:
            await part(send, b"data: tick\n\n")
            await anyio.sleep(1)

    report = await explore(app, points=["pause@0", "pause@1", "pause@2"], patience=0.5)
    assert report.rounds >= 1
    assert {finding.kind for finding in report.findings} == {"silent"}  # the pause is longer than the patience


# Applications that are right.


class Middleware(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-seen"] = "yes"
        return response


def fastapi_app() -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(anyio.sleep_forever)
            yield
            nursery.cancel_scope.cancel()

    async def connection() -> AsyncIterator[str]:
        try:
            yield "connection"
        finally:
            with anyio.move_on_after(1, shield=True):
                await anyio.sleep(0.01)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(2):
            yield b"part"
            await anyio.sleep(0.1)

    async def ticks() -> AsyncIterator[bytes]:
        while True:
            yield b"data: tick\n\n"
            await anyio.sleep(10)

    app = FastAPI(lifespan=lifespan)

    @app.get("/query")
    async def query(value: str = Depends(connection)) -> str:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(anyio.sleep, 0.1)
        with anyio.move_on_after(0.05):
            await anyio.sleep(1)
        return value

    @app.get("/mail")
    async def mail(tasks: BackgroundTasks) -> str:
        tasks.add_task(anyio.sleep, 1)
        return "sent"

    @app.get("/thread")
    def thread() -> str:
        return "in a thread"

    @app.post("/upload")
    async def upload(request: Request) -> int:
        return len(await request.body())

    app.get("/parts")(lambda: StreamingResponse(parts()))
    app.get("/ticks")(lambda: StreamingResponse(ticks(), media_type="text/event-stream"))
    return app


def starlette_app() -> Starlette:
    async def hello(request: Request) -> Response:
        await anyio.sleep(0.1)
        return PlainTextResponse("hello " * 1000)

    app = Starlette(routes=[Route("/", hello)])
    app.add_middleware(Middleware)
    app.add_middleware(GZipMiddleware)
    return app


def litestar_app() -> Litestar:
    @get("/")
    async def hello() -> dict[str, int]:
        await anyio.sleep(0.1)
        return {"hello": 1}

    return Litestar([hello], logging_config=None)  # else it configures the loggers of the process


def plain_app() -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        body = await read_body(receive)
        await start(send)
        writing, reading = anyio.create_memory_object_stream[bytes](1)
        async with writing, reading, anyio.create_task_group() as nursery:
            nursery.start_soon(writing.send, body)
            await part(send, await reading.receive())
            await anyio.sleep(0.1)
        await part(send, b"", more=False)

    return app


def opener() -> Any:
    @asynccontextmanager
    async def open_app() -> AsyncIterator[Any]:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(anyio.sleep_forever)
            yield plain_app()
            nursery.cancel_scope.cancel()

    return open_app


RIGHT: list[tuple[Callable[[], Any], list[str]]] = [
    (fastapi_app, ["GET /query", "GET /mail"]),
    (fastapi_app, ["POST /upload some", "GET /thread"]),
    (fastapi_app, ["GET /parts", "GET /ticks"]),
    (starlette_app, ["GET /"]),
    (litestar_app, ["GET /"]),
    (opener, ["POST / some"]),
    (plain_app, ["POST / some", "PUT /other more"]),
]


@pytest.mark.parametrize(("new_app", "requests"), RIGHT, ids=[f"{app.__name__}-{asked[0]}" for app, asked in RIGHT])
async def test_nothing_is_found_in_what_is_right(new_app: Callable[[], Any], requests: list[str]) -> None:
    report = await chaos(new_app, requests, factory=True)
    assert report.rounds > len(requests)
