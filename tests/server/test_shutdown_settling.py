"""Connections that settle while a server stops: who may ask once more, and who is answered that had no turn yet."""

import anyio
import pytest

from tests.helpers.apps import part, sleeper, start
from tests.helpers.lifespans import LifespanApp
from tests.helpers.serving import serving
from tests.helpers.stopping import CLOSE, Running, running
from tests.helpers.transcripts import get, ok, post, receive_response
from trioserve._streams.memory import MemoryClient, MemoryListener
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

# -- who asks once more ----------------------------------------------------------------------------------------------


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


async def stepwise(scope: Scope, receive: Receive, send: Send) -> None:
    """For ``/3``, half of a response that promises to take another request, and 3 seconds later the other half."""
    await start(send)
    await part(send, b"one")
    await anyio.sleep(float(scope["path"][1:]))
    await part(send, b"two", more=False)


async def promised(site: Running, *, request: bytes = get("/10"), settle: float = 0.5) -> MemoryClient:
    """A client with a whole response of ``stepwise``, in the middle of which the shutdown began."""
    client = site.listener.connect()
    await client.send_all(request)
    await client.receive_until(b"one\r\n")
    site.server.request_shutdown("test", settle=settle)
    await client.receive_until(b"0\r\n\r\n")
    return client


async def test_a_response_that_has_promised_more_is_followed_by_one_more() -> None:
    """Its head is on the way already; the client may have sent its next request before it is complete."""
    async with running(LifespanApp(stepwise)) as site:
        client = await promised(site, request=get("/0.1"))
        await client.send_all(get("/0.1"))
        assert CLOSE.encode() in await client.receive_until(b"one\r\n")
        await client.receive_rest()


async def test_a_promise_is_kept_after_the_others_have_left() -> None:
    async with running(LifespanApp(stepwise)) as site:
        client = await promised(site)
        await anyio.sleep(0.4)
        await client.send_all(get("/10"))
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
        client = await promised(site, request=post(b"", target="/10", length=100))
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == b""
            await client.aclose()
            await site.ended.wait()
        assert elapsed.seconds == 0


async def test_the_budget_runs_from_the_beginning() -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=10.0) as site:
        client = await site.ask(get("/100"))
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


async def test_nobody_settles_for_longer_than_the_budget() -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=0) as site:
        client = site.listener.connect()
        await settled()
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test", settle=0.5)
            assert await client.receive_rest() == b""
            await site.ended.wait()
    assert elapsed.seconds == 0


# -- who waits for a turn --------------------------------------------------------------------------------------------


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
