"""Filters that a user puts on our loggers: those that fail harm nobody, and others find the request's context."""

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.certificates import client_context, identity
from tests.helpers.serving import Site, serving
from tests.helpers.stream_pairs import MemoryPeer, TlsPeer
from tests.helpers.transcripts import get, ok, post, receive_response, status_of
from tests.helpers.ws_client import accept, open_websocket
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import settled

OURS = ("trioserve", "trioserve.access")


class FilterFailed(Exception):
    """What a filter of the user's raises."""


class BadFilter(logging.Filter):
    """Notes what it has seen, and fails."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        self.seen.append(record.getMessage())
        raise FilterFailed


@pytest.fixture
def filtered() -> Any:
    """Puts a filter on both loggers, which log everything."""
    put: list[logging.Filter] = []

    def put_on(log_filter: logging.Filter) -> None:
        put.append(log_filter)
        for name in OURS:
            logging.getLogger(name).setLevel(logging.DEBUG)
            logging.getLogger(name).addFilter(log_filter)

    yield put_on
    for name in OURS:
        for log_filter in put:
            logging.getLogger(name).removeFilter(log_filter)


# -- filters that fail -------------------------------------------------------------------------------------------------


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Does what the path says."""
    match scope["path"]:
        case "/fail":
            raise ValueError("the application's")
        case "/fail-late":
            await start(send)
            await part(send, b"part")
            raise ValueError("the application's")
        case "/nothing":
            return
        case "/body":
            await reply(send, await read_body(receive))
        case "/large":
            await reply(send, b"x" * 500_000)
        case "/wait":
            await anyio.sleep_forever()
        case "/stream":
            await start(send)
            await part(send, b"part")
            await anyio.sleep_forever()
        case "/work":
            await reply(send, b"ok")
            await anyio.sleep_forever()
        case _:
            await hello(scope, receive, send)


async def application_error(site: Site) -> None:
    assert status_of(await site.answer_to(get("/fail"))) == 500
    assert (await site.everything_after(get("/fail-late"))).endswith(b"part\r\n")
    assert status_of(await site.answer_to(get("/nothing"))) == 500


async def header_timeout(site: Site) -> None:
    assert await site.everything_after(b"") == b""
    assert (await site.everything_after(b"GET / HTTP")).startswith(b"HTTP/1.1 408 ")


async def keep_alive_timeout(site: Site) -> None:
    assert await site.everything_after(get("/a")) == ok(b"/a")


async def body_timeout(site: Site) -> None:
    assert (await site.everything_after(post(b"x", target="/body", length=9))).startswith(b"HTTP/1.1 408 ")


async def write_timeout(site: Site) -> None:
    clients = [site.connect() for _ in range(2)]
    await clients[0].send_all(get("/large"))
    await clients[1].send_all(get("/large") + get("/large"))
    await anyio.sleep(60)
    for client in clients:
        assert client.lost


async def request_timeout(site: Site) -> None:
    assert (await site.everything_after(get("/wait"))).startswith(b"HTTP/1.1 504 ")


async def client_disconnect(site: Site) -> None:
    client = site.connect()
    await client.send_all(get("/stream"))
    await client.receive_until(b"part\r\n")
    client.abort()
    await anyio.sleep(3)


async def bad_requests(site: Site) -> None:
    assert (await site.everything_after(b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert (await site.everything_after(get("/a", "content-length: x"))).startswith(b"HTTP/1.1 400 ")


async def too_many(site: Site) -> None:
    waiting = [site.connect() for _ in range(4)]
    for client in waiting:
        await client.send_all(get("/wait"))
    await settled()
    assert status_of(await site.answer_to(get("/a"))) == 503
    for client in waiting:
        client.abort()
    await anyio.sleep(60)


SCENES: list[tuple[Callable[[Site], Any], dict[str, Any], str]] = [
    (application_error, {}, "Exception in the application"),
    (header_timeout, {"timeout_header": 5}, "header-timeout: "),
    (keep_alive_timeout, {"timeout_keep_alive": 5}, "keep-alive-timeout: "),
    (body_timeout, {"timeout_body": 5}, "body-timeout: "),
    (write_timeout, {"timeout_write": 5}, "write-timeout: "),
    (request_timeout, {"timeout_request": 5}, "request-timeout: "),
    (client_disconnect, {"on_disconnect": "auto"}, "client-disconnect: "),
    (client_disconnect, {"on_disconnect": "cancel"}, "client-disconnect: "),
    (bad_requests, {}, "400: "),
    (too_many, {"limit_concurrency": 4, "timeout_request": 5}, "503: "),
]


@pytest.mark.parametrize(("scene", "options", "line"), SCENES, ids=[scene[0].__name__ for scene in SCENES])
async def test_a_filter_that_fails_ends_nothing(
    scene: Callable[[Site], Any], options: dict[str, Any], line: str, filtered: Callable[[logging.Filter], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = BadFilter()
    async with serving(app, access_log=True, **options) as site:
        filtered(bad)
        async with anyio.create_task_group() as scenes:  # so that several things happen at the same moment
            scenes.start_soon(scene, site)
            scenes.start_soon(scene, site)
        await settled()
        assert site.connections == 0
        assert await site.answer_to(get("/after")) == ok(b"/after")
        await scene(site)
    assert sum(line in seen for seen in bad.seen) >= 3, bad.seen
    printed = capsys.readouterr().err
    assert "FilterFailed" in printed
    assert "Internal error" not in printed


async def test_a_filter_that_fails_at_the_deadline_of_a_shutdown(
    filtered: Callable[[logging.Filter], None], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = BadFilter()
    async with serving(app, access_log=True, timeout_graceful_shutdown=5) as site:
        clients = [site.connect() for _ in range(3)]
        for client, target in zip(clients, ("/wait", "/stream", "/work"), strict=True):
            await client.send_all(get(target))
        await settled()
        filtered(bad)
        await site.stop()
        assert site.connections == 0
    for target in ("/wait", "/stream", "/work"):
        assert any(seen.startswith(f"shutdown-deadline: ended GET {target} ") for seen in bad.seen), bad.seen
    assert "Internal error" not in capsys.readouterr().err


async def test_a_filter_that_fails_while_tls_begins(
    filtered: Callable[[logging.Filter], None], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = BadFilter()
    async with serving(app, ssl_context=identity().context, timeout_tls_handshake=5) as site:
        filtered(bad)
        silent, wrong = site.connect(), site.connect()
        await wrong.send_all(b"GET / HTTP/1.1\r\n\r\n" * 10)
        await wrong.receive_rest()
        assert await silent.receive_rest() == b""
        await settled()
        assert site.connections == 0
        peer = TlsPeer(MemoryPeer(site.connect()), client_context())
        await peer.send(get("/after"))
        assert await peer.receive() == ok(b"/after")
        peer.close()
    assert len(bad.seen) >= 2
    assert "Internal error" not in capsys.readouterr().err


# -- filters that look for the request's context -----------------------------------------------------------------------

correlation_id: ContextVar[str] = ContextVar("correlation_id", default="-")


class CorrelationFilter(logging.Filter):
    """Puts the context's correlation id into each record, as asgi-correlation-id does."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def filter(self, record: logging.LogRecord) -> bool:
        self.found.append((correlation_id.get(), record.getMessage()))
        return True

    def of(self, text: str) -> list[str]:
        """The ids of the lines with ``text``."""
        return [found for found, line in self.found if text in line]


def with_correlation_id(inner: App) -> App:
    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        correlation_id.set(dict(scope["headers"])[b"x-id"].decode())
        await inner(scope, receive, send)

    return middleware


def request(target: str, number: int) -> bytes:
    return get(target, f"x-id: id-{number}")


@pytest.fixture
def correlated(filtered: Callable[[logging.Filter], None]) -> CorrelationFilter:
    found = CorrelationFilter()
    filtered(found)
    return found


ACCESS = '"GET '


async def test_access_lines_are_written_in_the_context_of_their_request(correlated: CorrelationFilter) -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await anyio.sleep(1)
        await reply(send, b"ok")
        if scope["path"] == "/work":
            await anyio.sleep(1)

    async with serving(with_correlation_id(inner), access_log=True) as site:
        client = site.connect()
        for number, target in enumerate(("/a", "/slow", "/work", "/slow", "/a")):
            await client.send_all(request(target, number))
            await receive_response(client)
    assert correlated.of(ACCESS) == [f"id-{number}" for number in range(5)]


async def test_access_lines_of_responses_that_children_send(correlated: CorrelationFilter) -> None:
    """Starlette's BaseHTTPMiddleware sends from the task, and the application inside runs in another one."""
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(reply, send, b"ok")
            await anyio.sleep(1)

    async with serving(with_correlation_id(inner), access_log=True) as site:
        await site.answer_to(request("/", 1))
    assert correlated.of(ACCESS) == ["id-1"]


@pytest.mark.parametrize("wait", [False, True], ids=["at-once", "after-a-wait"])
@pytest.mark.parametrize("begun", [False, True], ids=["unanswered", "begun"])
async def test_error_lines(wait: bool, begun: bool, correlated: CorrelationFilter) -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await start(send)
            await part(send, b"part")
        if wait:
            await anyio.sleep(1)
        raise ValueError("the application's")

    async with serving(with_correlation_id(inner), access_log=True) as site:
        await site.everything_after(request("/", 1))
    assert correlated.of("Exception in the application") == ["id-1"]
    assert correlated.of(ACCESS) == ["id-1"]


@pytest.mark.parametrize("wait", [False, True], ids=["at-once", "after-a-wait"])
async def test_lines_about_responses_that_are_missing(wait: bool, correlated: CorrelationFilter) -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        if wait:
            await anyio.sleep(1)

    async with serving(with_correlation_id(inner), access_log=True) as site:
        await site.everything_after(request("/", 1))
    assert correlated.of("The application returned") == ["id-1"]
    assert correlated.of(ACCESS) == ["id-1"]


async def test_an_error_after_the_response(correlated: CorrelationFilter) -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"ok")
        await anyio.sleep(1)
        raise ValueError("the work's")

    async with serving(with_correlation_id(inner), access_log=True) as site:
        client = site.connect()
        for number in range(2):
            await client.send_all(request("/", number))
            await receive_response(client)
        await anyio.sleep(5)
    assert sorted(correlated.of("Exception in the application")) == ["id-0", "id-1"]


@pytest.mark.parametrize(
    ("scene", "options", "line"),
    [
        (request_timeout, {"timeout_request": 5}, "request-timeout: "),
        (body_timeout, {"timeout_body": 5}, "body-timeout: "),
        (write_timeout, {"timeout_write": 5}, "write-timeout: ended"),
        (client_disconnect, {}, "client-disconnect: "),
    ],
    ids=["request", "body", "write", "client-disconnect"])  # fmt: skip
async def test_lines_about_what_ended_a_request(
    scene: Callable[[Site], Any], options: dict[str, Any], line: str, correlated: CorrelationFilter
) -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        correlation_id.set(f"id of {scope['path']}")
        await app(scope, receive, send)

    async with serving(inner, access_log=True, **options) as site:
        await scene(site)
        await settled()
    assert correlated.of(line), correlated.found
    assert {found.partition(" /")[0] for found in correlated.of(line)} == {"id of"}, correlated.found


async def test_lines_at_the_deadline_of_a_shutdown(correlated: CorrelationFilter) -> None:
    async with serving(with_correlation_id(app), access_log=True, timeout_graceful_shutdown=5) as site:
        for number, target in enumerate(("/wait", "/stream", "/work")):
            await site.connect().send_all(request(target, number))
        await settled()
        await site.stop()
    assert sorted(correlated.of("shutdown-deadline: ended")) == ["id-0", "id-1", "id-2"]
    assert sorted(correlated.of(ACCESS)) == ["id-0", "id-1", "id-2"]


async def test_lines_about_a_websocket(correlated: CorrelationFilter) -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await receive()
        raise ValueError("the application's")

    async with serving(with_correlation_id(inner), access_log=True) as site:
        client = await open_websocket(site, "x-id: id-1")
        await client.text("hello")
        await client.receive_rest()
    assert correlated.of("Exception in the application") == ["id-1"]
    assert correlated.of('"GET / HTTP/1.1" 101') == ["id-1"]
    assert correlated.of('"WEBSOCKET /" 1011') == ["id-1"]


async def test_a_request_does_not_see_the_context_of_another(correlated: CorrelationFilter) -> None:
    seen: list[str] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(correlation_id.get())
        correlation_id.set("mine")
        await reply(send, b"ok")

    async with serving(inner, access_log=True) as site:
        client = site.connect()
        for _ in range(3):
            await client.send_all(get())
            await receive_response(client)
    assert seen == ["-"] * 3
