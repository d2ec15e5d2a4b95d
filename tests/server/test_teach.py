"""``--teach``: the timeline of a request, the same on both backends."""

import asyncio
import gc
import logging
import re
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import sniffio
import trio
import trio.testing

from tests.helpers.apps import echo, hello, read_body, reply
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, post
from tests.helpers.ws_client import echo as websocket_echo
from tests.helpers.ws_client import open_websocket
from trioserve import Config, ConfigError
from trioserve._server import Server
from trioserve._types import App, Receive, Scope, Send

# Virtual time: what is said, and when, is the same on both backends; so each test has one expectation.

CALLED = "   0.0 ms  the application is called"
RESPONSE = [
    "<- http.response.start status=200 headers=[]",
    "<- http.response.body body=b'' more_body=False",
    "the application returned",
]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Of the timelines, without their headings."""
    caplog.set_level(logging.INFO, "trioserve.teach")
    return lambda: [
        record.getMessage() for record in caplog.records
        if record.name == "trioserve.teach" and record.levelno == logging.INFO
        and re.match(" *[0-9]", record.getMessage())]


def texts(lines: list[str]) -> list[str]:
    """Without their times."""
    return [line[11:] for line in lines]


async def timeline_of(app: App, request: bytes = get(), **options: Any) -> None:
    async with serving(app, teach=True, **options) as site:
        client = site.connect()
        await client.send_all(request)
        await client.receive_rest() if b"close" in request else await client.receive_until(b"\r\n\r\n")
        await client.aclose()


async def test_a_plain_request(lines: Callable[[], list[str]]) -> None:
    await timeline_of(echo, post(b"tea"))
    assert lines() == [
        CALLED,
        "   0.0 ms  -> http.request body=b'tea' more_body=False",
        "   0.0 ms  <- http.response.start status=200 headers=[]",
        "   0.0 ms  <- http.response.body body=b'tea' more_body=False",
        "   0.0 ms  the application returned",
    ]


async def test_a_nursery_with_its_tasks(lines: Callable[[], list[str]]) -> None:
    async def fetch() -> None:
        await anyio.sleep(2)

    async def store(receive: Receive) -> None:
        await anyio.sleep(1)
        await receive()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(fetch)
            children.start_soon(store, receive)
        await reply(send)

    await timeline_of(app)
    assert lines() == [
        CALLED,
        "   0.0 ms  nursery opened",
        "   0.0 ms  | fetch started",
        "   0.0 ms  | store started",
        "   1.00 s  | store: -> http.request body=b'' more_body=False",
        "   1.00 s  | store ended",
        "   2.00 s  | fetch ended",
        "   2.00 s  nursery left",
        *(f"   2.00 s  {text}" for text in RESPONSE),
    ]


async def test_a_deadline_that_passes(lines: Callable[[], list[str]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.move_on_after(5):
            await anyio.sleep(60)
        await reply(send)

    await timeline_of(app)
    assert lines()[1:4] == [
        "   0.0 ms  scope entered, 5.0 s left",
        "   5.00 s  | scope cancelled, its deadline has passed",
        "   5.00 s  scope left",
    ]


async def test_a_deadline_in_time(lines: Callable[[], list[str]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.fail_after(5):
            await anyio.sleep(1)
        await reply(send)

    await timeline_of(app)
    assert texts(lines())[1:4] == ["scope entered, 5.0 s left", "scope left", RESPONSE[0]]


async def test_a_timeout_with_a_shielded_cleanup(lines: Callable[[], list[str]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.move_on_after(2, shield=True):
                await anyio.sleep(1)

    await timeline_of(app, timeout_request=3)
    assert lines() == [
        CALLED,
        "   3.00 s  cancelled by the server: request-timeout",
        "   3.00 s  scope entered, shielded, 2.0 s left",
        "   4.00 s  scope left",
        "   4.00 s  the application was cancelled",
    ]


async def test_a_client_that_leaves(lines: Callable[[], list[str]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await anyio.sleep_forever()

    async with serving(app, teach=True) as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_until(b"one")
        await anyio.sleep(5)
        client.abort()
    assert texts(lines())[-2:] == ["cancelled by the server: client-disconnect", "the application was cancelled"]


async def test_a_child_that_fails_cancels_its_siblings(lines: Callable[[], list[str]]) -> None:
    async def fails() -> None:
        await anyio.sleep(1)
        raise ValueError("out of tea")

    async def waits() -> None:
        await anyio.sleep_forever()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(waits)
            children.start_soon(fails)

    await timeline_of(app)
    assert texts(lines())[1:] == [
        "nursery opened",
        "| waits started",
        "| fails started",
        "| fails raised ValueError: out of tea",
        "| nursery cancelled, because fails has raised",
        "| waits was cancelled",
        "nursery left",
        "the application raised a group of ValueError: out of tea",
    ]


async def test_who_cancels_is_named(lines: Callable[[], list[str]]) -> None:
    async def waits() -> None:
        await anyio.sleep_forever()

    async def stops(nursery: Any) -> None:
        await anyio.sleep(1)
        nursery.cancel_scope.cancel()
        await anyio.sleep_forever()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(waits)
            children.start_soon(stops, children)
        async with anyio.create_task_group() as children:
            children.start_soon(waits)
            await anyio.sleep(1)
            children.cancel_scope.cancel()
        await reply(send)

    await timeline_of(app)
    assert [text for text in texts(lines()) if "cancelled by" in text] == [
        "| nursery cancelled by stops", "| nursery cancelled by the application"]


async def test_a_task_that_cancels_and_ends_is_named(lines: Callable[[], list[str]]) -> None:
    async def stops(scope: anyio.CancelScope) -> None:
        await anyio.sleep(1)
        scope.cancel()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope() as around:
            async with anyio.create_task_group() as children:
                children.start_soon(anyio.sleep_forever)
                children.start_soon(stops, around)
        await reply(send)

    await timeline_of(app)
    assert "scope cancelled by stops" in texts(lines())


async def test_what_is_entered_between_two_looks_is_told_from_the_outside_in(lines: Callable[[], list[str]]) -> None:
    async def outer() -> None:
        await anyio.sleep(1)

    async def inner() -> None:
        await anyio.sleep(2)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(outer)
            with anyio.move_on_after(60):
                async with anyio.create_task_group() as grandchildren:
                    grandchildren.cancel_scope.deadline = anyio.current_time() + 30
                    grandchildren.start_soon(inner)
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(3)
        await reply(send)

    await timeline_of(app)
    assert texts(lines())[1:] == [
        "nursery opened",
        "| outer started",
        "| scope entered, 60 s left",
        "| | nursery opened, 30 s left",
        "| | | inner started",
        "| | | scope entered, shielded",
        "| outer ended",
        "| | | inner ended",
        "| | | scope left",
        "| | nursery left",
        "| scope left",
        "nursery left",
        *RESPONSE,
    ]


async def test_what_follows_from_a_cancellation_is_not_said_again(lines: Callable[[], list[str]]) -> None:
    async def waits() -> None:
        with anyio.move_on_after(60):
            await anyio.sleep_forever()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.move_on_after(1):
            async with anyio.create_task_group() as children:
                children.start_soon(waits)
        await reply(send)

    await timeline_of(app)
    assert texts(lines())[1:] == [
        "scope entered, 1.0 s left",
        "| nursery opened",
        "| | waits started",
        "| | waits: scope entered, 60 s left",
        "| scope cancelled, its deadline has passed",
        "| | waits: scope left",
        "| | waits was cancelled",
        "| nursery left",
        "scope left",
        *RESPONSE,
    ]


async def test_scopes_of_a_task_are_in_its_lines(lines: Callable[[], list[str]]) -> None:
    async def fetch() -> None:
        with anyio.move_on_after(1):
            await anyio.sleep(9)
        await anyio.sleep(1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(fetch)
        await reply(send)

    await timeline_of(app)
    assert texts(lines())[2:6] == [
        "| fetch started", "| fetch: scope entered, 1.0 s left",
        "| | fetch: scope cancelled, its deadline has passed", "| fetch: scope left"]


async def test_a_nursery_in_a_child(lines: Callable[[], list[str]]) -> None:
    async def leaf() -> None:
        await anyio.sleep(1)

    async def branch() -> None:
        async with anyio.create_task_group() as leaves:
            leaves.start_soon(leaf)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(branch)
        await reply(send)

    await timeline_of(app)
    assert texts(lines())[1:8] == [
        "nursery opened", "| branch started", "| branch: nursery opened", "| | leaf started", "| | leaf ended",
        "| branch: nursery left", "| branch ended"]


async def test_a_websocket(lines: Callable[[], list[str]]) -> None:
    async with serving(websocket_echo, teach=True) as site:
        client = await open_websocket(site)
        await client.text("hello")
        await client.receive_text()
        await client.say_goodbye()
    assert texts(lines()) == [
        "the application is called",
        "-> websocket.connect",
        "<- websocket.accept",
        "-> websocket.receive text='hello'",
        "<- websocket.send text='hello'",
        "-> websocket.disconnect code=1000 reason=''",
        "the application returned",
    ]


@pytest.mark.parametrize("engine", ["ngh2", "h2"])
async def test_streams_of_http2(engine: Any, lines: Callable[[], list[str]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.move_on_after(5):
            await anyio.sleep(1)
        await reply(send)

    async with serving(app, teach=True, http2=True, http2_engine=engine) as site, http2_client(site) as client:
        await client.get("/")
    assert texts(lines()) == ["the application is called", "scope entered, 5.0 s left", "scope left", *RESPONSE]


async def test_send_that_fails(lines: Callable[[], list[str]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await receive()
        await reply(send)

    async with serving(app, teach=True) as site:
        client = site.connect()
        await client.send_all(get())
        client.abort()
    assert texts(lines())[-2:] == [
        "   send() raised ClientDisconnected: the client has gone",
        "the application raised ClientDisconnected: the client has gone"]


# -- what one backend has ----------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_nurseries_and_scopes_of_trios_own(
    lines: Callable[[], list[str]], autojump_clock: trio.testing.MockClock
) -> None:
    async def fetch() -> None:
        await trio.sleep(1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with trio.move_on_after(5):
            async with trio.open_nursery() as children:
                children.start_soon(fetch)
        await reply(send)

    await timeline_of(app)
    assert texts(lines())[1:7] == [
        "scope entered, 5.0 s left", "| nursery opened", "| | fetch started", "| | fetch ended", "| nursery left",
        "scope left"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_tasks_of_asyncios_own(lines: Callable[[], list[str]]) -> None:
    async def forgotten() -> None:
        await asyncio.sleep(1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.create_task(forgotten())
        await reply(send)
        await asyncio.sleep(2)
        assert task.done()

    await timeline_of(app, post(b"", "connection: close"))
    assert texts(lines())[1:] == [
        "forgotten started, in no nursery of this request", *RESPONSE[:2], "forgotten ended", RESPONSE[2]]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_task_that_is_cancelled_before_it_begins(lines: Callable[[], list[str]]) -> None:
    async def never() -> None:
        raise AssertionError("it must not begin")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asyncio.create_task(never()).cancel()
        await asyncio.sleep(1)
        await reply(send)

    await timeline_of(app)
    gc.collect()  # a coroutine that was never awaited would be a warning now
    assert texts(lines())[1:3] == ["never started, in no nursery of this request", "never was cancelled"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_task_factory_of_the_programs_own_stays(lines: Callable[[], list[str]]) -> None:
    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=loop, **options)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    await timeline_of(echo, post(b"tea"))
    assert loop.get_task_factory() is factory
    loop.set_task_factory(None)
    assert len(lines()) == 5


# -- the lines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fetch /\x1b[2J", "fetch /a\nINFO: forged", "fetch /\u202etxt"])
async def test_names_of_tasks_cannot_command_a_terminal(name: str, lines: Callable[[], list[str]]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(anyio.sleep, 1, name=name)
        await reply(send)

    await timeline_of(app)
    assert texts(lines())[2:4] == [f"| {ascii(name)[1:-1]} started", f"| {ascii(name)[1:-1]} ended"]


async def test_no_line_is_wider_than_a_terminal(
    lines: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        fields = [(b"x-long-name-of-a-field", b"v" * 200)] * 5
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"x" * 1000})

    await timeline_of(app, get("/" + "long" * 50))
    assert max(map(len, lines())) == 88
    assert max(len(record.getMessage()) for record in caplog.records if record.levelno == logging.INFO) == 88
    assert lines()[1].endswith("...")


async def test_requests_have_headings_and_secrets_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve.teach")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"sesame")]})
        await send({"type": "http.response.body"})

    await timeline_of(app, get("/tea"))
    messages = [record.getMessage() for record in caplog.records if record.name == "trioserve.teach"]
    assert messages[0] == "--teach: each request is watched step by step, which is slow; for development only"
    assert caplog.records[0].levelno == logging.WARNING
    assert re.fullmatch(r"GET /tea HTTP/1\.1 from [\d.]+:\d+", messages[1])
    assert not [text for text in messages if "sesame" in text]


@pytest.mark.parametrize(("options", "colored"), [
    ({"use_colors": True}, True), ({"use_colors": False}, False), ({"use_colors": True, "log_format": "json"}, False),
])
async def test_colours(options: dict[str, Any], colored: bool, lines: Callable[[], list[str]]) -> None:
    await timeline_of(echo, post(b"tea"), **options)
    assert ("\x1b[" in "".join(lines())) is colored
    if colored:
        green, blue, cyan = lines()[0], lines()[1], lines()[2]
        assert ("\x1b[32mthe" in green, "\x1b[34m->" in blue, "\x1b[36m<-" in cyan) == (True, True, True)


async def test_a_line_of_json_knows_its_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve.teach")
    await timeline_of(hello, log_format="json")
    records = [record for record in caplog.records if record.getMessage().startswith("   0.0 ms")]
    assert records
    assert len({vars(record)["request_id"] for record in records}) == 1


async def test_afterwards_nobody_looks_any_more() -> None:
    await timeline_of(hello)
    if sniffio.current_async_library() == "trio":
        instruments = trio.lowlevel.current_task()._runner.instruments
        assert not [name for name, attached in instruments.items() if attached]
    else:
        assert asyncio.get_running_loop().get_task_factory() is None


async def test_without_the_option_the_application_is_called_directly() -> None:
    assert Server(hello, Config())._app is hello


def test_it_is_for_one_worker() -> None:
    with pytest.raises(ConfigError) as error:
        Config(teach=True, workers=2)
    assert error.value.option == "teach"
