"""The timeouts of a connection that waits for a head, ``--timeout-header`` and ``--timeout-keep-alive``."""

import anyio
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.serving import Site, serving
from tests.helpers.timeouts import drip, reasons
from tests.helpers.transcripts import get, ok, receive_response, status_of
from trioserve._connection.patience import Patience
from trioserve._connection.timeouts import Timeout
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

# -- the head --------------------------------------------------------------------------------------------------------


async def test_header_a_silent_connection_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(hello, timeout_header=10) as site:
        with seconds_passed() as elapsed:
            assert await site.connect().receive_rest() == b""
    assert elapsed.seconds == 10
    assert reasons(caplog) == ["header-timeout"]


async def test_header_runs_from_accept_and_is_not_reset_by_bytes(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(hello, timeout_header=10) as site, anyio.create_task_group() as sending:
        client = site.connect()
        sending.start_soon(drip, client, [b"GET / HTTP/1.1\r\n", *[b"a: b\r\n"] * 99], 1)
        with seconds_passed() as elapsed:
            assert status_of(await receive_response(client)) == 408
        await client.aclose()
    assert elapsed.seconds == 10
    assert reasons(caplog) == ["header-timeout"]


async def test_header_runs_from_the_first_byte_of_a_later_request(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(hello, timeout_header=10, timeout_keep_alive=75) as site:
        client = site.connect()
        await client.send_all(get())
        await receive_response(client)
        await anyio.sleep(50)
        async with anyio.create_task_group() as sending:
            sending.start_soon(drip, client, [bytes([byte]) for byte in get("/" + "x" * 99)], 1)
            with seconds_passed() as elapsed:
                assert status_of(await receive_response(client)) == 408
            await client.aclose()
    assert elapsed.seconds == 10
    assert reasons(caplog) == ["header-timeout"]


async def test_header_runs_for_a_pipelined_head_that_is_not_whole() -> None:
    async with serving(hello, timeout_header=10, timeout_keep_alive=75) as site:
        client = site.connect()
        await client.send_all(get() + get()[:9])
        assert await receive_response(client) == ok(b"/")
        with seconds_passed() as elapsed:
            assert status_of(await receive_response(client)) == 408
    assert elapsed.seconds == 10


async def test_header_a_head_in_time_is_served() -> None:
    async with serving(hello, timeout_header=10) as site, anyio.create_task_group() as sending:
        client = site.connect()
        sending.start_soon(drip, client, [b"GET / HT", b"TP/1.1\r\nho", b"st: a\r\n\r\n"], 4.9)
        assert await receive_response(client) == ok(b"/")


# -- keep-alive ------------------------------------------------------------------------------------------------------


async def test_a_request_at_the_very_end_of_the_idle_time_is_answered_and_others_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes when the time is over, and the task that waits has not yet been told."""
    give_up = Patience._give_up
    async with serving(hello, timeout_keep_alive=75) as site:
        client = site.connect()

        def give_up_too_early(patience: Patience, expected: Timeout) -> None:
            give_up(patience, expected)
            client.send_nowait(get())

        monkeypatch.setattr(Patience, "_give_up", give_up_too_early)
        await client.send_all(get())
        assert await receive_response(client) == ok(b"/")
        with seconds_passed() as elapsed:
            assert await receive_response(client) == ok(b"/")
        assert elapsed.seconds == 75
        monkeypatch.undo()
        await client.send_all(get())
        assert await receive_response(client) == ok(b"/")


async def test_keep_alive_an_idle_connection_is_closed(caplog: pytest.LogCaptureFixture) -> None:  # RFC 9112 §9.3
    async with serving(hello, timeout_keep_alive=75) as site:
        client = site.connect()
        await client.send_all(get())
        await receive_response(client)
        with seconds_passed() as elapsed:
            assert await client.receive_some() == b""
    assert elapsed.seconds == 75
    assert reasons(caplog) == ["keep-alive-timeout"]


async def test_keep_alive_begins_anew_with_each_response() -> None:
    async with serving(hello, timeout_keep_alive=75) as site:
        client = site.connect()
        for _ in range(5):
            await client.send_all(get())
            assert await receive_response(client) == ok(b"/")
            await anyio.sleep(74)
        assert not client.is_disconnected()


async def test_keep_alive_does_not_count_while_a_request_runs() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1000)
        await reply(send)

    async with serving(app, timeout_keep_alive=5) as site:
        assert await site.answer_to(get()) == ok(b"")


# -- strikes that are late ---------------------------------------------------------------------------------------------


def strike_late(site: Site) -> None:
    """As if the process had been stopped: what the client has just sent is there, and its time is over."""
    protocol = site.only_connection._protocol
    assert protocol is not None
    patience = protocol._patience
    timeout = patience.expects
    assert timeout is not None
    timeout.disarm(patience)
    patience.on_timeout(timeout.kind)


async def test_a_request_that_is_there_when_keep_alive_strikes_is_served(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(hello) as site:
        client = site.connect()
        for target in ("/first", "/second", "/third"):
            client.send_nowait(get(target))
            if target != "/first":
                strike_late(site)
            assert await receive_response(client) == ok(target.encode())
            await settled()
    assert reasons(caplog) == []


async def test_a_head_that_has_begun_when_keep_alive_strikes_has_its_own_time(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(hello, timeout_header=10) as site:
        client = site.connect()
        await client.send_all(get())
        await receive_response(client)
        await settled()
        client.send_nowait(get("/late")[:9])
        strike_late(site)
        await anyio.sleep(9)
        await client.send_all(get("/late")[9:])
        assert await receive_response(client) == ok(b"/late")
    assert reasons(caplog) == []


async def test_the_rest_of_a_head_that_is_there_when_its_time_is_over_counts(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(get("/late")[:9])
        await settled()
        client.send_nowait(get("/late")[9:])
        strike_late(site)
        assert await receive_response(client) == ok(b"/late")
    assert reasons(caplog) == []


async def test_a_part_of_a_head_that_is_there_when_its_time_is_over_is_not_enough(
    caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(get("/late")[:9])
        await settled()
        client.send_nowait(get("/late")[9:-1])
        strike_late(site)
        with seconds_passed() as elapsed:
            assert status_of(await receive_response(client)) == 408
    assert elapsed.seconds == 0
    assert reasons(caplog) == ["header-timeout"]
