"""A server that stops gracefully: requests in progress are answered, idle connections closed, new ones refused."""

import logging

import anyio
import pytest

from tests.helpers.apps import echo, hello, part, reply, sleeper, start
from tests.helpers.http2_client import http2_client
from tests.helpers.lifespans import LifespanApp
from tests.helpers.serving import serving
from tests.helpers.stopping import CLOSE, GRACEFULLY, Stop, by_request, running
from tests.helpers.transcripts import get, ok, post, receive_response, status_of
from trioserve._connection import Lifetime, Served
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

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
        client = await site.ask(get("/20"))
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
        client = await site.ask(get("/1")[:9])
        by_request(site)
        await anyio.sleep(3)
        await client.send_all(get("/1")[9:])
        assert await client.receive_rest() == ok(b"/1", CLOSE)


async def test_a_body_may_still_arrive() -> None:
    async with running(LifespanApp(echo)) as site:
        client = await site.ask(post(b"ha", length=4))
        by_request(site)
        await anyio.sleep(3)
        await client.send_all(b"lf")
        assert await client.receive_rest() == ok(b"half", CLOSE)


async def test_pipelined_requests_end_with_the_one_in_progress() -> None:
    async with running(LifespanApp(sleeper)) as site:
        client = await site.ask(get("/1") + get("/2") + get("/3"))
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
