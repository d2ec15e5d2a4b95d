"""A process that has served for long enough: its age, and the memory that it holds."""

import logging
import mmap

import anyio
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.lifespans import LifespanApp
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, receive_response
from trioserve import Config, ConfigError
from trioserve._server import Server, recycling
from trioserve._streams.memory import MemoryListener
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

MIB = 1024 * 1024


async def test_age_stops_the_server_gracefully() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(10)
        await reply(send, b"late")

    async with serving(slow, limit_max_age=3600) as site:
        await anyio.sleep(3595)
        client = site.connect()
        await client.send_all(get())
        with seconds_passed() as elapsed:
            assert await receive_response(client) == ok(b"late", "connection: close")
        assert elapsed.seconds == 10
        with pytest.raises(ConnectionRefusedError):
            site.connect()


async def test_an_idle_client_may_ask_once_more() -> None:
    """Who ends for such a reason is replaced, and nobody waits for it."""
    async with serving(hello, limit_max_age=3600) as site:
        await anyio.sleep(3599)
        client = site.connect()
        await client.send_all(get())
        assert await receive_response(client) == ok(b"/")
        await anyio.sleep(1.4)
        await client.send_all(get())
        assert await client.receive_rest() == ok(b"/", "connection: close")


async def test_age_is_counted_from_the_first_possible_connection() -> None:
    app = LifespanApp(startup_seconds=30)
    server = Server(app, Config(limit_max_age=5, access_log=False), listeners=[MemoryListener()])
    with seconds_passed() as elapsed:
        await server.serve()
    assert elapsed.seconds == 35


async def test_memory_stops_the_server(caplog: pytest.LogCaptureFixture) -> None:
    limit = recycling.resident_bytes() + 64 * MIB
    hoard = []

    async def hoarder(scope: Scope, receive: Receive, send: Send) -> None:
        while recycling.resident_bytes() <= limit:
            hoard.append(b"x" * 16 * MIB)
        await reply(send, b"kept")

    caplog.set_level(logging.INFO)
    async with serving(hoarder, limit_max_rss=limit) as site:
        await anyio.sleep(60)
        assert await site.answer_to(get()) == ok(b"kept")
        await anyio.sleep(recycling.LOOK_SECONDS)
        await settled()
        with pytest.raises(ConnectionRefusedError):
            site.connect()
    assert "Shutting down (limit-max-rss)" in caplog.text
    assert " MiB of memory, its limit is " in caplog.text


def test_memory_is_what_the_kernel_says() -> None:
    with mmap.mmap(-1, 32 * MIB) as hoard:  # new pages; what ``bytes`` gets may be memory that was freed before
        before = recycling.resident_bytes()
        hoard.write(b"x" * len(hoard))
        assert recycling.resident_bytes() - before >= 0.9 * len(hoard)


async def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recycling, "STATM", "/proc/self/missing")
    with pytest.raises(ConfigError, match="this system has no /proc/self/missing") as failure:
        Server(hello, Config(limit_max_rss=MIB))
    assert failure.value.option == "limit_max_rss"
