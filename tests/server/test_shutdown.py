"""The end of a server, from the inside out: listeners, idle connections, requests in progress, the lifespan."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import pytest

from tests.helpers.apps import echo, hello, part, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.lifespans import LifespanApp
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, looks_whole, ok, post, receive_response, status_of
from trioserve import Config
from trioserve._connection import Lifetime, Served
from trioserve._server import Server
from trioserve._streams.memory import MemoryClient, MemoryListener
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

CLOSE = "connection: close"


async def sleeper(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers ``/3`` after 3 seconds."""
    await anyio.sleep(float(scope["path"][1:] or 0))
    await reply(send, scope["path"].encode())


class Running:
    """A server whose end the test waits for itself."""

    def __init__(self, app: LifespanApp, **options: Any) -> None:
        self.app = app
        self.listener = MemoryListener()
        quiet = {"date_header": False, "server_header": False, "access_log": False, "lifespan": "on"}
        self.server = Server(app, Config.from_options(quiet | options), listeners=[self.listener])
        self.ended = anyio.Event()
        self.scope = anyio.CancelScope()


@asynccontextmanager
async def running(app: LifespanApp, **options: Any) -> AsyncIterator[Running]:
    """A server in a nursery; the block's end waits until it has ended."""
    this = Running(app, **options)
    async with anyio.create_task_group() as nursery:

        async def serve(*, task_status: anyio.abc.TaskStatus[Any]) -> None:
            with this.scope:
                await this.server.serve(task_status=task_status)
            this.ended.set()

        await nursery.start(serve)
        yield this


def by_cancellation(site: Running) -> None:
    site.scope.cancel()


def by_request(site: Running) -> None:
    site.server.request_shutdown("test")


GRACEFULLY = pytest.mark.parametrize("stop", [by_cancellation, by_request])
Stop = Callable[[Running], None]


# -- a graceful stop -------------------------------------------------------------------------------------------------


@GRACEFULLY
async def test_a_request_in_progress_is_answered(stop: Stop) -> None:
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await client.send_all(get("/20"))
        await anyio.sleep(5)
        stop(site)
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == ok(b"/20", CLOSE)
        assert elapsed.seconds == 15
        assert not client.lost
        await site.ended.wait()
    assert site.app.events[-3:] == ["end of /20", "shutdown", "stopped"]


@GRACEFULLY
async def test_idle_connections_are_closed_at_once(stop: Stop) -> None:
    async with running(LifespanApp(sleeper)) as site:
        new, used = site.listener.connect(), site.listener.connect()
        await used.send_all(get("/0"))
        await receive_response(used)
        await settled()
        with seconds_passed() as elapsed:
            stop(site)
            assert await new.receive_rest() == b""
            assert await used.receive_rest() == b""
            await site.ended.wait()
    assert not new.lost
    assert not used.lost
    assert elapsed.seconds == 0
    assert site.app.events[-2:] == ["shutdown", "stopped"]


@GRACEFULLY
async def test_a_request_body_that_nobody_wants_is_not_waited_for(stop: Stop) -> None:
    async with running(LifespanApp(hello)) as site:
        client = site.listener.connect()
        await client.send_all(post(b"", length=100))
        assert await receive_response(client) == ok(b"/")
        await settled()
        with seconds_passed() as elapsed:
            stop(site)
            assert await client.receive_rest() == b""
            await client.aclose()
            await site.ended.wait()
    assert elapsed.seconds == 0


@GRACEFULLY
async def test_new_connections_are_refused(stop: Stop) -> None:
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await client.send_all(get("/20"))
        await settled()
        stop(site)
        await settled()
        with pytest.raises(ConnectionRefusedError):
            site.listener.connect()
        await client.receive_rest()


async def test_a_request_that_comes_at_the_same_moment_is_answered() -> None:  # RFC 9112 §9.5, the race
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await client.send_all(get("/0"))
        await receive_response(client)
        await settled()
        client.send_nowait(get("/1"))
        by_request(site)
        assert await client.receive_rest() == ok(b"/1", CLOSE)


async def test_a_new_connection_with_its_request_at_the_same_moment_is_answered() -> None:
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await settled()
        client.send_nowait(get("/1"))
        by_request(site)
        assert await client.receive_rest() == ok(b"/1", CLOSE)


async def test_a_request_whose_head_has_begun_is_answered() -> None:
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await client.send_all(get("/1")[:9])
        await settled()
        by_request(site)
        await anyio.sleep(3)
        await client.send_all(get("/1")[9:])
        assert await client.receive_rest() == ok(b"/1", CLOSE)


async def test_a_body_may_still_arrive() -> None:
    async with running(LifespanApp(echo)) as site:
        client = site.listener.connect()
        await client.send_all(post(b"ha", length=4))
        await settled()
        by_request(site)
        await anyio.sleep(3)
        await client.send_all(b"lf")
        assert await client.receive_rest() == ok(b"half", CLOSE)


async def test_pipelined_requests_end_with_the_one_in_progress() -> None:
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await client.send_all(get("/1") + get("/2") + get("/3"))
        await settled()
        by_request(site)
        assert await client.receive_rest() == ok(b"/1", CLOSE)
        assert not client.lost


async def test_a_streamed_response_goes_on_to_its_end() -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(10):
            await part(send, b"x")
            await anyio.sleep(1)
        await part(send, b"", more=False)

    async with running(LifespanApp(stream)) as site:
        client = site.listener.connect()
        await client.send_all(get())
        await anyio.sleep(5)
        by_request(site)
        assert (await client.receive_rest()).endswith(b"1\r\nx\r\n0\r\n\r\n")
        assert not client.lost


async def test_work_after_a_response_may_finish() -> None:
    async def background(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send)
        await anyio.sleep(10)

    async with running(LifespanApp(background)) as site:
        client = site.listener.connect()
        await client.send_all(get())
        await receive_response(client)
        by_request(site)
        with seconds_passed() as elapsed:
            await site.ended.wait()
    assert elapsed.seconds == 10
    assert "end of /" in site.app.events


async def test_the_reason_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    async with running(LifespanApp(sleeper)) as site:
        site.server.request_shutdown("first reason")
        site.server.request_shutdown("second reason")
    assert caplog.text.count("Shutting down") == 1
    assert "Shutting down (first reason)" in caplog.text


# -- the deadline ----------------------------------------------------------------------------------------------------


@GRACEFULLY
async def test_the_deadline_cancels_and_names_what_is_left(stop: Stop, caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=30) as site:
        client = site.listener.connect()
        await client.send_all(get("/3600?a=b"))
        await settled()
        with seconds_passed() as elapsed:
            stop(site)
            assert await client.receive_rest() == b""
            await site.ended.wait()
    assert elapsed.seconds == 28  # two seconds are kept for the lifespan
    assert site.app.events[-3:] == ["/3600 cancelled", "shutdown", "stopped"]
    still, ended = caplog.messages
    assert still.startswith("Still running, and cancelled now:\n")
    assert ended.startswith("shutdown-deadline: ended GET /3600?a=b after ")
    assert ended.endswith("(sleeper)")


async def test_at_the_deadline_the_log_says_where_each_task_stands(caplog: pytest.LogCaptureFixture) -> None:
    async def child() -> None:
        await anyio.sleep(3600)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)

    async with running(LifespanApp(app), timeout_graceful_shutdown=30) as site:
        for _ in range(21):
            client = site.listener.connect()
            await client.send_all(get("/a?b=c"))
        await settled()
        by_request(site)
        await site.ended.wait()
    [still] = [message for message in caplog.messages if message.startswith("Still running")]
    _, first, request, *rest = still.split("\n")
    assert first.startswith("192.0.2.1:50000  APP  HTTP/1.1  ")
    assert request.startswith("  GET /a?***  APP  ") and "test_shutdown.py:" in request
    assert any("child  at " in line and "test_shutdown.py:" in line for line in rest)
    assert rest[-1] == "... 1 more"


async def test_nothing_is_said_when_nothing_is_left(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=30) as site:
        client = site.listener.connect()
        await client.send_all(get("/3"))
        await settled()
        by_request(site)
        await site.ended.wait()
    assert not [message for message in caplog.messages if message.startswith("Still running")]


async def test_a_response_cut_off_by_the_deadline_does_not_look_whole() -> None:  # RFC 9112 §8
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"begun")
        await anyio.sleep_forever()

    async with running(LifespanApp(endless), timeout_graceful_shutdown=10) as site:
        client = site.listener.connect()
        await client.send_all(get())
        await settled()
        by_request(site)
        received = await client.receive_rest()
        assert received.endswith(b"begun\r\n")
        assert not looks_whole(received, client)


async def seconds_of_a_stop(site: Running, path: str) -> float:
    """How long it takes while a request is in progress."""
    client = site.listener.connect()
    await client.send_all(get(path))
    await settled()
    with seconds_passed() as elapsed:
        by_request(site)
        await site.ended.wait()
    return elapsed.seconds


async def test_one_budget_for_requests_and_lifespan() -> None:
    app = LifespanApp(sleeper, shutdown_seconds=3600)
    async with running(app, timeout_graceful_shutdown=30) as site:
        elapsed = await seconds_of_a_stop(site, "/3600")
    assert elapsed == 30
    assert app.events[-3:] == ["/3600 cancelled", "shutdown", "lifespan cancelled"]


async def test_a_lifespan_has_two_seconds_however_small_the_budget_is(caplog: pytest.LogCaptureFixture) -> None:
    """A tenth of it, which is kept from the requests, would be too little to close a database."""
    async with running(LifespanApp(sleeper, shutdown_seconds=1.9), timeout_graceful_shutdown=0.5) as site:
        elapsed = await seconds_of_a_stop(site, "/3600")
    assert elapsed == pytest.approx(0.45 + 1.9)
    assert site.app.events[-3:] == ["/3600 cancelled", "shutdown", "stopped"]
    assert "lifespan did not end" not in caplog.text


async def test_what_requests_leave_of_the_budget_is_the_lifespans() -> None:
    app = LifespanApp(sleeper, shutdown_seconds=25)
    async with running(app, timeout_graceful_shutdown=30) as site:
        by_request(site)
    assert app.events[-1] == "stopped"


@pytest.mark.parametrize("sent", [b"GET / HT", post(b"", length=100), post(b"", length=100) + b"x" * 100 + b"GET / HT"])
async def test_the_deadline_does_not_wait_for_the_rest_of_what_a_client_sends(sent: bytes) -> None:
    async with running(LifespanApp(hello), timeout_graceful_shutdown=1, timeout_header=10) as site:
        client = site.listener.connect()
        await client.send_all(sent)
        await settled()
        with seconds_passed() as elapsed:
            by_request(site)
            await site.ended.wait()
    assert elapsed.seconds < 3


async def test_force_does_not_wait_for_the_rest_of_a_head() -> None:
    async with running(LifespanApp(hello), timeout_header=10) as site:
        client = site.listener.connect()
        await client.send_all(b"GET / HT")
        await settled()
        with seconds_passed() as elapsed:
            by_request(site)
            await settled()
            site.server.force_shutdown()
            await site.ended.wait()
    assert elapsed.seconds == 0


async def test_without_a_budget_requests_take_their_time() -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=None) as site:
        client = site.listener.connect()
        await client.send_all(get("/36000"))
        await settled()
        by_request(site)
        assert await client.receive_rest() == ok(b"/36000", CLOSE)


async def test_a_budget_of_nothing_cancels_at_once_and_still_tells_the_lifespan() -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=0) as site:
        elapsed = await seconds_of_a_stop(site, "/3600")
    assert elapsed == 0
    assert "/3600 cancelled" in site.app.events
    assert "shutdown" in site.app.events


async def test_a_budget_of_nothing_is_for_requests_only(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(shutdown_seconds=1), timeout_graceful_shutdown=0) as site:
        with seconds_passed() as elapsed:
            by_request(site)
            await site.ended.wait()
    assert elapsed.seconds == 1
    assert site.app.events[-1] == "stopped"
    assert not caplog.records


async def test_a_lifespan_cannot_add_much_to_a_budget_of_nothing() -> None:
    async with running(LifespanApp(shutdown_seconds=3600), timeout_graceful_shutdown=0) as site:
        with seconds_passed() as elapsed:
            by_request(site)
            await site.ended.wait()
    assert elapsed.seconds == 2
    assert site.app.events[-1] == "lifespan cancelled"


async def test_an_application_that_shields_itself_is_waited_for() -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(60)

    async with running(LifespanApp(stubborn), timeout_graceful_shutdown=10) as site:
        client = site.listener.connect()
        await client.send_all(get())
        await settled()
        with seconds_passed() as elapsed:
            by_request(site)
            await site.ended.wait()
    assert elapsed.seconds >= 60
    assert "shutdown" in site.app.events


# -- force -----------------------------------------------------------------------------------------------------------


async def test_force_does_not_wait_for_requests(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await client.send_all(get("/3600"))
        await settled()
        with seconds_passed() as elapsed:
            site.server.force_shutdown()
            await site.ended.wait()
    assert elapsed.seconds == 0
    assert site.app.events[-3:] == ["/3600 cancelled", "shutdown", "stopped"]
    assert "GET /3600" in caplog.text


@GRACEFULLY
async def test_force_cuts_a_graceful_stop_short(stop: Stop) -> None:
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await client.send_all(get("/3600"))
        await settled()
        with seconds_passed() as elapsed:
            stop(site)
            await anyio.sleep(5)
            assert not site.ended.is_set()
            site.server.force_shutdown()
            site.server.force_shutdown()
            await site.ended.wait()
    assert elapsed.seconds == 5
    assert site.app.events[-3:] == ["/3600 cancelled", "shutdown", "stopped"]


@pytest.mark.parametrize("stop", [Server.force_shutdown, lambda server: server.request_shutdown("test")])
async def test_a_server_stopped_before_it_began_ends_at_once(stop: Callable[[Server], None]) -> None:
    app = LifespanApp()
    listener = MemoryListener()
    server = Server(app, Config(), listeners=[listener])
    stop(server)
    await server.serve()
    assert "request" not in app.events


# -- shutdown_delay --------------------------------------------------------------------------------------------------


async def test_with_a_delay_connections_are_accepted_a_while_longer() -> None:
    async with running(LifespanApp(sleeper), shutdown_delay=10) as site:
        by_request(site)
        await anyio.sleep(9)
        client = site.listener.connect()
        await client.send_all(get("/0"))
        assert status_of(await receive_response(client)) == 200
        await anyio.sleep(2)
        with pytest.raises(ConnectionRefusedError):
            site.listener.connect()


async def test_the_budget_begins_after_the_delay() -> None:
    async with running(LifespanApp(sleeper), shutdown_delay=10, timeout_graceful_shutdown=30) as site:
        client = site.listener.connect()
        await client.send_all(get("/25"))
        await anyio.sleep(1)
        by_request(site)
        assert await client.receive_rest() == ok(b"/25", CLOSE)


async def test_force_skips_the_delay() -> None:
    async with running(LifespanApp(sleeper), shutdown_delay=3600) as site:
        with seconds_passed() as elapsed:
            by_request(site)
            await anyio.sleep(5)
            site.server.force_shutdown()
            await site.ended.wait()
    assert elapsed.seconds == 5


# -- cancellation from outside ---------------------------------------------------------------------------------------


async def test_a_deadline_around_serve_is_a_graceful_stop() -> None:
    app = LifespanApp(sleeper)
    listener = MemoryListener()
    server = Server(app, Config(access_log=False), listeners=[listener])
    client = listener.connect()
    client.send_nowait(get("/20"))
    with seconds_passed() as elapsed, anyio.move_on_after(5) as scope:
        await server.serve()
    assert scope.cancelled_caught
    assert elapsed.seconds == 20
    assert app.events[-3:] == ["end of /20", "shutdown", "stopped"]


async def test_a_failing_sibling_stops_the_server_gracefully() -> None:
    app = LifespanApp(sleeper)
    listener = MemoryListener()
    server = Server(app, Config(access_log=False), listeners=[listener])
    client = listener.connect()
    client.send_nowait(get("/20"))

    async def fail() -> None:
        await anyio.sleep(5)
        raise ValueError("a sibling's")

    with pytest.raises(ExceptionGroup) as raised:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(server.serve)
            nursery.start_soon(fail)
    assert raised.group_contains(ValueError, match="a sibling's", depth=1)
    assert app.events[-3:] == ["end of /20", "shutdown", "stopped"]


only_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


@only_asyncio
@pytest.mark.parametrize("cancels", [1, 3])
async def test_native_cancel_of_the_task_is_a_graceful_stop(cancels: int) -> None:
    """Once or again and again: the later ones change nothing."""
    app = LifespanApp(sleeper)
    listener = MemoryListener()
    task = asyncio.create_task(Server(app, Config(access_log=False), listeners=[listener]).serve())
    client = listener.connect()
    client.send_nowait(get("/20"))
    for _ in range(cancels):
        await asyncio.sleep(5)
        task.cancel()
    assert status_of(await receive_response(client)) == 200
    with pytest.raises(asyncio.CancelledError):
        await task
    assert app.events[-3:] == ["end of /20", "shutdown", "stopped"]


@only_asyncio
async def test_a_native_task_group_and_timeout_stop_gracefully() -> None:
    app = LifespanApp(sleeper)
    listener = MemoryListener()
    server = Server(app, Config(access_log=False), listeners=[listener])
    client = listener.connect()
    client.send_nowait(get("/20"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await server.serve()
    assert app.events[-3:] == ["end of /20", "shutdown", "stopped"]


async def test_nothing_is_left_when_everything_happens_at_once() -> None:
    async with serving(LifespanApp(sleeper), lifespan="on", timeout_graceful_shutdown=5) as site:
        clients = [site.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            await client.send_all(get(f"/{number}"))
        await anyio.sleep(3)
        clients[1].abort()
        clients[15].abort()
        site.server.request_shutdown("test")
        await anyio.sleep(1)
        site.server.force_shutdown()


# -- connections that settle -----------------------------------------------------------------------------------------


async def test_who_asks_once_more_is_answered_and_told_that_it_is_the_last() -> None:  # RFC 9112 §9.6
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await client.send_all(get("/0"))
        assert await receive_response(client) == ok(b"/0")
        site.server.request_shutdown("test", settle=0.5)
        await anyio.sleep(0.4)
        await client.send_all(get("/0"))
        assert await client.receive_rest() == ok(b"/0", CLOSE)
        assert not client.lost


async def test_it_ends_with_the_last_connection() -> None:
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await settled()
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test", settle=100)
            await client.send_all(get("/0"))
            await client.receive_rest()
            await site.ended.wait()
        assert elapsed.seconds == 0


async def test_who_is_silent_is_closed_in_the_end() -> None:
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await settled()
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test", settle=0.5)
            assert await client.receive_rest() == b""
        assert elapsed.seconds == 0.5


async def test_a_response_that_has_promised_more_is_followed_by_one_more() -> None:
    """Its head is on the way already; the client may have sent its next request before it is complete."""

    async def halting(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"one")
        await anyio.sleep(0.1)
        await part(send, b"two", more=False)

    async with running(LifespanApp(halting)) as site:
        client = site.listener.connect()
        await client.send_all(get("/"))
        await client.receive_until(b"one\r\n")
        site.server.request_shutdown("test", settle=0.5)
        await client.receive_until(b"0\r\n\r\n")
        await client.send_all(get("/"))
        assert CLOSE.encode() in await client.receive_until(b"one\r\n")
        await client.receive_rest()


async def stepwise(scope: Scope, receive: Receive, send: Send) -> None:
    """Half of a response that promises to take another request, and 10 seconds later the other half."""
    await start(send)
    await part(send, b"one")
    await anyio.sleep(10)
    await part(send, b"two", more=False)


async def promised(site: Running, *, request: bytes = get("/"), settle: float = 0.5) -> MemoryClient:
    """A client with a whole response of ``stepwise``, in the middle of which the shutdown began."""
    client = site.listener.connect()
    await client.send_all(request)
    await client.receive_until(b"one\r\n")
    site.server.request_shutdown("test", settle=settle)
    await client.receive_until(b"0\r\n\r\n")
    return client


async def test_a_promise_is_kept_after_the_others_have_left() -> None:
    async with running(LifespanApp(stepwise)) as site:
        client = await promised(site)
        await anyio.sleep(0.4)
        await client.send_all(get("/"))
        assert CLOSE.encode() in await client.receive_until(b"one\r\n")
        assert (await client.receive_rest()).endswith(b"0\r\n\r\n")
        assert not client.lost


@pytest.mark.parametrize("settle", [0.5, 0.0])
async def test_a_client_that_does_not_ask_for_what_it_was_promised_is_closed(settle: float) -> None:
    async with running(LifespanApp(stepwise)) as site:
        client = await promised(site, settle=settle)
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == b""
        assert elapsed.seconds == settle


async def test_a_client_that_leaves_in_that_time_is_not_waited_for() -> None:
    async with running(LifespanApp(stepwise)) as site:
        client = await promised(site)
        with seconds_passed() as elapsed:
            client.send_eof()
            await site.ended.wait()
        assert elapsed.seconds == 0


async def test_a_promise_waits_for_no_body_that_nobody_wants() -> None:
    async with running(LifespanApp(stepwise)) as site:
        client = await promised(site, request=post(b"", length=100))
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == b""
            await client.aclose()
            await site.ended.wait()
        assert elapsed.seconds == 0


async def test_the_budget_runs_from_the_beginning() -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=10.0) as site:
        client = site.listener.connect()
        await client.send_all(get("/100"))
        await settled()
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test", settle=0.5)
            await site.ended.wait()
        assert elapsed.seconds == 9
        await client.receive_rest()


async def test_force_does_not_let_anybody_settle() -> None:
    async with running(LifespanApp(sleeper)) as site:
        client = site.listener.connect()
        await settled()
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test", settle=100)
            await settled()
            site.server.force_shutdown()
            assert await client.receive_rest() == b""
            await site.ended.wait()
        assert elapsed.seconds == 0


@pytest.mark.parametrize("settle", [0.5, 0.0])
async def test_who_waits_in_the_backlog_is_answered(settle: float) -> None:
    """The kernel has told this client that it is connected."""
    async with running(LifespanApp(sleeper)) as site:
        site.server.request_shutdown("test", settle=settle)
        client = site.listener.connect()
        client.send_nowait(get("/0"))
        assert await client.receive_rest() == ok(b"/0", CLOSE)


@pytest.mark.parametrize("settle", [0.5, 0.0])
async def test_who_waits_for_a_slot_is_answered_when_others_have_ended(settle: float) -> None:
    async with running(LifespanApp(sleeper), limit_connections=1) as site:
        clients = [site.listener.connect() for _ in range(3)]
        for client in clients:
            client.send_nowait(get("/3"))
        await settled()
        assert site.server.open_connections == 1
        site.server.request_shutdown("test", settle=settle)
        await settled()
        with pytest.raises(ConnectionRefusedError):
            site.listener.connect()
        for client in clients:
            assert site.server.open_connections <= 1
            assert await client.receive_rest() == ok(b"/3", CLOSE)


async def test_who_was_accepted_and_had_no_slot_yet_is_answered() -> None:
    listeners = [MemoryListener(("192.0.2.1", 80)), MemoryListener(("192.0.2.2", 80))]
    async with serving(sleeper, listeners=listeners, limit_connections=1) as site:
        clients = [listener.connect() for listener in listeners]  # both have room for one
        for client in clients:
            client.send_nowait(get("/3"))
        await settled()
        assert [listener.waiting for listener in listeners] == [0, 0]
        site.server.request_shutdown("test")
        for client in clients:
            assert await client.receive_rest() == ok(b"/3", CLOSE)


@pytest.mark.parametrize("force", [False, True])
async def test_who_waits_for_a_slot_until_the_deadline_is_reset(force: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper), limit_connections=1, timeout_graceful_shutdown=10.0) as site:
        first, *others = [site.listener.connect() for _ in range(3)]
        for client in (first, *others):
            client.send_nowait(get("/100"))
        await settled()
        site.server.request_shutdown("test")
        await settled()
        if force:
            site.server.force_shutdown()
        for client in others:
            assert await client.receive_rest() == b""
            assert client.lost
        await first.receive_rest()
    assert "limit-connections: 2 connections were closed that had waited for their turn" in caplog.messages


@pytest.mark.parametrize(("within", "seconds"), [(2.0, 1.8), (100.0, 9.0), (None, 9.0)])
async def test_a_shutdown_may_have_a_shorter_budget(within: float | None, seconds: float) -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=10.0) as site:
        client = site.listener.connect()
        await client.send_all(get("/100"))
        await settled()
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test", within=within)
            await site.ended.wait()
        assert elapsed.seconds == pytest.approx(seconds)
        await client.receive_rest()


async def test_nobody_settles_for_longer_than_the_budget() -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=0) as site:
        client = site.listener.connect()
        await settled()
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test", settle=0.5)
            assert await client.receive_rest() == b""
            await site.ended.wait()
    assert elapsed.seconds == 0


@pytest.mark.parametrize("http2", [False, True])
async def test_a_drain_may_find_a_connection_whose_last_task_has_ended(
    http2: bool, monkeypatch: pytest.MonkeyPatch,
) -> None:
    drained: list[Served] = []
    end = Lifetime.end

    def end_after_drain(lifetime: Lifetime, connection: Served) -> None:
        connection.drain()
        drained.append(connection)
        end(lifetime, connection)

    monkeypatch.setattr(Lifetime, "end", end_after_drain)
    async with serving(hello, http2=http2) as site:
        if http2:
            async with http2_client(site) as client:
                await client.get()
        else:
            await site.answer_to(get())
        await settled()
    assert len(drained) == 1
