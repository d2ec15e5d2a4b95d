"""A server that stops, and whom it does not wait for any longer: at the deadline, and when it is forced."""

from collections.abc import Callable

import anyio
import pytest

from tests.helpers.apps import hello, part, sleeper, start
from tests.helpers.lifespans import LifespanApp
from tests.helpers.serving import serving
from tests.helpers.stopping import CLOSE, GRACEFULLY, Running, Stop, by_request, running
from tests.helpers.transcripts import get, looks_whole, ok, post
from trioserve import Config
from trioserve._server import Server
from trioserve._streams.memory import MemoryListener
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

# -- the deadline ----------------------------------------------------------------------------------------------------


@GRACEFULLY
async def test_the_deadline_cancels_and_names_what_is_left(stop: Stop, caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=30) as site:
        client = await site.ask(get("/3600?a=b"))
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
            await site.ask(get("/a?b=c"))
        by_request(site)
        await site.ended.wait()
    [still] = [message for message in caplog.messages if message.startswith("Still running")]
    _, first, request, *rest = still.split("\n")
    assert first.startswith("192.0.2.1:50000  APP  HTTP/1.1  ")
    assert request.startswith("  GET /a?***  APP  ") and "test_shutdown_deadline.py:" in request
    assert any("child  at " in line and "test_shutdown_deadline.py:" in line for line in rest)
    assert rest[-1] == "... 1 more"


async def test_nothing_is_said_when_nothing_is_left(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=30) as site:
        await site.ask(get("/3"))
        by_request(site)
        await site.ended.wait()
    assert not [message for message in caplog.messages if message.startswith("Still running")]


async def test_a_response_cut_off_by_the_deadline_does_not_look_whole() -> None:  # RFC 9112 §8
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"begun")
        await anyio.sleep_forever()

    async with running(LifespanApp(endless), timeout_graceful_shutdown=10) as site:
        client = await site.ask(get())
        by_request(site)
        received = await client.receive_rest()
        assert received.endswith(b"begun\r\n")
        assert not looks_whole(received, client)


async def seconds_of_a_stop(site: Running) -> float:
    """How long it takes until the server has ended."""
    with seconds_passed() as elapsed:
        by_request(site)
        await site.ended.wait()
    return elapsed.seconds


async def test_one_budget_for_requests_and_lifespan() -> None:
    app = LifespanApp(sleeper, shutdown_seconds=3600)
    async with running(app, timeout_graceful_shutdown=30) as site:
        await site.ask(get("/3600"))
        elapsed = await seconds_of_a_stop(site)
    assert elapsed == 30
    assert app.events[-3:] == ["/3600 cancelled", "shutdown", "lifespan cancelled"]


async def test_a_lifespan_has_two_seconds_however_small_the_budget_is(caplog: pytest.LogCaptureFixture) -> None:
    """A tenth of it, which is kept from the requests, would be too little to close a database."""
    async with running(LifespanApp(sleeper, shutdown_seconds=1.9), timeout_graceful_shutdown=0.5) as site:
        await site.ask(get("/3600"))
        elapsed = await seconds_of_a_stop(site)
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
        await site.ask(sent)
        elapsed = await seconds_of_a_stop(site)
    assert elapsed < 3


async def test_force_does_not_wait_for_the_rest_of_a_head() -> None:
    async with running(LifespanApp(hello), timeout_header=10) as site:
        await site.ask(b"GET / HT")
        with seconds_passed() as elapsed:
            by_request(site)
            await settled()
            site.server.force_shutdown()
            await site.ended.wait()
    assert elapsed.seconds == 0


async def test_without_a_budget_requests_take_their_time() -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=None) as site:
        client = await site.ask(get("/36000"))
        by_request(site)
        assert await client.receive_rest() == ok(b"/36000", CLOSE)


async def test_a_budget_of_nothing_cancels_at_once_and_still_tells_the_lifespan() -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=0) as site:
        await site.ask(get("/3600"))
        elapsed = await seconds_of_a_stop(site)
    assert elapsed == 0
    assert "/3600 cancelled" in site.app.events
    assert "shutdown" in site.app.events


async def test_a_budget_of_nothing_is_for_requests_only(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(shutdown_seconds=1), timeout_graceful_shutdown=0) as site:
        elapsed = await seconds_of_a_stop(site)
    assert elapsed == 1
    assert site.app.events[-1] == "stopped"
    assert not caplog.records


async def test_a_lifespan_cannot_add_much_to_a_budget_of_nothing() -> None:
    async with running(LifespanApp(shutdown_seconds=3600), timeout_graceful_shutdown=0) as site:
        elapsed = await seconds_of_a_stop(site)
    assert elapsed == 2
    assert site.app.events[-1] == "lifespan cancelled"


async def test_an_application_that_shields_itself_is_waited_for() -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(60)

    async with running(LifespanApp(stubborn), timeout_graceful_shutdown=10) as site:
        await site.ask(get())
        elapsed = await seconds_of_a_stop(site)
    assert elapsed >= 60
    assert "shutdown" in site.app.events


@pytest.mark.parametrize(("within", "seconds"), [(2.0, 1.8), (100.0, 9.0), (None, 9.0)])
async def test_a_shutdown_may_have_a_shorter_budget(within: float | None, seconds: float) -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=10.0) as site:
        client = await site.ask(get("/100"))
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test", within=within)
            await site.ended.wait()
        assert elapsed.seconds == pytest.approx(seconds)
        await client.receive_rest()


# -- force -----------------------------------------------------------------------------------------------------------


async def test_force_does_not_wait_for_requests(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper)) as site:
        await site.ask(get("/3600"))
        with seconds_passed() as elapsed:
            site.server.force_shutdown()
            await site.ended.wait()
    assert elapsed.seconds == 0
    assert site.app.events[-3:] == ["/3600 cancelled", "shutdown", "stopped"]
    assert "GET /3600" in caplog.text


@GRACEFULLY
async def test_force_cuts_a_graceful_stop_short(stop: Stop) -> None:
    async with running(LifespanApp(sleeper)) as site:
        await site.ask(get("/3600"))
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
