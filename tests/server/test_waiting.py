"""A server that stops says what it waits for, until when, and how to stop it at once."""

import logging

import anyio
import pytest

from tests.helpers.apps import sleeper
from tests.helpers.lifespans import LifespanApp
from tests.helpers.stopping import Running, running
from tests.helpers.transcripts import get
from trioserve._server.waiting import named
from trioserve.testing import seconds_passed

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if line.startswith(("Waiting", "Accepting"))]


async def asked_for(site: Running, *paths: str) -> None:
    for path in paths:
        await site.ask(get(path))


async def test_again_and_again_until_the_request_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=30) as site:
        await asked_for(site, "/13")
        site.server.request_shutdown("SIGINT")
        await site.ended.wait()
    assert said(caplog) == [
        f"Waiting for 1 request (GET /13 for 0 s), {seconds} s at most; press Ctrl-C again to stop now"
        for seconds in (27, 22, 17)
    ]


async def test_clients_that_do_not_close(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper)) as site:
        unfinished = b"POST /0 HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\nconnection: close\r\n\r\nfive"
        await site.ask(unfinished)
        site.server.request_shutdown("SIGTERM")
        await site.ended.wait()
    assert said(caplog) == ["Waiting for 1 connection to close, 27 s at most; another SIGTERM stops now"]


async def test_most_shutdowns_are_over_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper, shutdown_seconds=0.5)) as site:
        await asked_for(site, "/0.9")
        site.server.request_shutdown("SIGINT")
        await site.ended.wait()
    assert said(caplog) == []


@pytest.mark.parametrize(("reason", "hint"), [
    ("SIGTERM", "; another SIGTERM stops now"), ("SIGHUP", "; SIGTERM stops now"), ("limit-max-requests", ""),
])
async def test_how_to_stop_now_depends_on_why_it_stops(
    reason: str, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(LifespanApp(sleeper), timeout_graceful_shutdown=None) as site:
        await asked_for(site, "/2")
        site.server.request_shutdown(reason)
        await site.ended.wait()
    assert said(caplog) == [f"Waiting for 1 request (GET /2 for 0 s){hint}"]


async def test_force_ends_the_waiting_and_the_words(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper)) as site:
        await asked_for(site, "/3600", "/3600")
        site.server.request_shutdown("SIGINT")
        await anyio.sleep(2)
        site.server.force_shutdown()
        await site.ended.wait()
    assert said(caplog) == [
        "Waiting for 2 requests (GET /3600 for 0 s, GET /3600 for 0 s), 27 s at most; press Ctrl-C again to stop now"]


async def test_the_lifespan(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper, shutdown_seconds=7), timeout_graceful_shutdown=10) as site:
        site.server.request_shutdown("SIGTERM")
        await site.ended.wait()
    assert site.app.events[-1] == "stopped"
    assert said(caplog) == [
        "Waiting for the application's lifespan, 9 s at most; another SIGTERM stops now",
        "Waiting for the application's lifespan, 4 s at most; another SIGTERM stops now"]


async def test_force_leaves_the_lifespan_two_seconds() -> None:
    """As much as at the deadline; whether it has begun to end or not."""
    for begun in (True, False):
        async with running(LifespanApp(sleeper, shutdown_seconds=3600)) as site:
            with seconds_passed() as elapsed:
                if begun:
                    site.server.request_shutdown("test")
                    await anyio.sleep(5)
                site.server.force_shutdown()
                await site.ended.wait()
            assert elapsed.seconds == (7 if begun else 2)
            assert site.app.events[-2:] == ["shutdown", "lifespan cancelled"]


async def test_the_delay(caplog: pytest.LogCaptureFixture) -> None:
    async with running(LifespanApp(sleeper), shutdown_delay=5) as site:
        site.server.request_shutdown("SIGINT")
        await site.ended.wait()
    assert said(caplog) == ["Accepting connections for 5 s more; press Ctrl-C again to stop now"]


def test_the_oldest_requests_are_named() -> None:
    requests = [("GET /a", 1.0), ("GET /b", 40.2), ("GET /c", 0.2), ("GET /d", 7.0)]
    assert named("request", requests) == "4 requests (GET /b for 40 s, GET /d for 7 s, GET /a for 1 s, 1 more)"
    assert named("request", requests[:1]) == "1 request (GET /a for 1 s)"
    assert named("request", []) == ""
