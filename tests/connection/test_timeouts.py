"""Each timeout: when it strikes, what it does not count, what the client gets and what the log says."""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from tests.helpers.apps import echo, hello, part, read_body, reply, start
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, looks_whole, ok, post, receive_response, status_of
from trioserve import ClientDisconnected
from trioserve._connection import Connection
from trioserve._connection.patience import Patience
from trioserve._connection.timeouts import Timeout
from trioserve._streams.memory import MemoryClient
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trioserve")


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What ended connections and requests, in order."""
    return re.findall(r"^\S+ +trioserve:\S+ ([a-z-]+): ", caplog.text, re.MULTILINE)


async def drip(client: MemoryClient, data: Iterable[bytes], seconds: float) -> None:
    """Send a piece each ``seconds``, until there is nobody to send to."""
    try:
        for piece in data:
            await client.send_all(piece)
            await anyio.sleep(seconds)
    except ClientDisconnected:
        pass


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
    [connection] = site.server._lifetime.connections
    assert isinstance(connection, Connection)
    assert connection._protocol is not None
    patience = connection._protocol._patience
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


# -- the request body ------------------------------------------------------------------------------------------------


async def read_until_disconnect(receive: Receive) -> list[Message]:
    messages = [await receive()]
    while messages[-1]["type"] != "http.disconnect":
        messages.append(await receive())
    return messages


async def test_body_silence(caplog: pytest.LogCaptureFixture) -> None:  # RFC 9110 §15.5.9
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        messages.extend(await read_until_disconnect(receive))

    async with serving(app, timeout_body=30) as site:
        client = site.connect()
        await client.send_all(post(b"ha", target="/upload", length=4))
        with seconds_passed() as elapsed:
            assert status_of(await receive_response(client)) == 408
    assert elapsed.seconds == 30
    assert [message.get("body") for message in messages] == [b"ha", None]
    assert reasons(caplog) == ["body-timeout"]
    assert re.search(r"body-timeout: ended POST /upload after \d+\.\d s, waiting at \S+:\d+ \(read_until_disconnect\)",
                     caplog.text)


async def test_body_each_byte_begins_the_silence_anew() -> None:
    async with serving(echo, timeout_body=4) as site, anyio.create_task_group() as sending:
        client = site.connect()
        sending.start_soon(drip, client, [post(b"", length=3000), b"x" * 1000, b"x" * 1000, b"x" * 1000], 3)
        assert await receive_response(client) == ok(b"x" * 3000)


async def test_body_that_drips_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(echo, timeout_body=30) as site, anyio.create_task_group() as sending:
        client = site.connect()
        sending.start_soon(drip, client, [post(b"", length=1000), *[b"x"] * 1000], 1)
        with seconds_passed() as elapsed:
            assert status_of(await receive_response(client)) == 408
        await client.aclose()
    assert 5 < elapsed.seconds <= 7  # 240 B/s, after 5 s of grace
    assert reasons(caplog) == ["body-timeout"]


@pytest.mark.parametrize(("bytes_per_second", "fast_enough"), [(230, False), (250, True)])
async def test_body_the_slowest_rate_is_240_bytes_per_second(bytes_per_second: int, fast_enough: bool) -> None:
    size = bytes_per_second * 600
    async with serving(echo, timeout_body=30) as site, anyio.create_task_group() as sending:
        client = site.connect()
        sending.start_soon(drip, client, [post(b"", length=size), *[b"x" * bytes_per_second] * 600], 1)
        assert status_of(await receive_response(client)) == (200 if fast_enough else 408)
        await client.aclose()


async def test_body_only_waiting_counts() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1000)
        body = (await receive())["body"]
        await anyio.sleep(1000)
        await reply(send, body + await read_body(receive))

    async with serving(app, timeout_body=30) as site:
        client = site.connect()
        await client.send_all(post(b"ha", length=4))
        await anyio.sleep(1500)
        await client.send_all(b"lf")
        assert await receive_response(client) == ok(b"half")


async def test_body_timeout_after_the_response_has_begun_cuts_it_short(caplog: pytest.LogCaptureFixture) -> None:
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"begun")
        messages.extend(await read_until_disconnect(receive))

    async with serving(app, timeout_body=30) as site:
        client = site.connect()
        await client.send_all(post(b"", length=4))
        received = await client.receive_rest()
        assert not looks_whole(received, client)
    assert received.endswith(b"begun\r\n")
    assert reasons(caplog) == ["body-timeout"]


async def test_body_that_nobody_reads_times_out_after_the_response(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(hello, timeout_body=30) as site:
        client = site.connect()
        await client.send_all(post(b"ha", length=4))
        assert await receive_response(client) == ok(b"/")
        with seconds_passed() as elapsed:
            assert await client.receive_some() == b""
    assert elapsed.seconds == 30


# -- writing ---------------------------------------------------------------------------------------------------------


async def send_much(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, b"x" * 1_000_000)


async def test_write_stall_aborts(caplog: pytest.LogCaptureFixture) -> None:
    raised: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send_much(scope, receive, send)
        except OSError as exc:
            raised.append(exc)
            raise

    async with serving(app, timeout_write=30) as site:
        client = site.connect()
        await client.send_all(get("/download"))
        await anyio.sleep(29)
        assert not client.lost
        await anyio.sleep(1)
        await settled()
        assert client.lost
        assert site.connections == 0
    assert isinstance(raised[0], ClientDisconnected)
    assert reasons(caplog) == ["write-timeout"]
    assert re.search(r"write-timeout: ended GET /download after \d+\.\d s, waiting at \S+:\d+ \(part\)", caplog.text)


async def test_write_progress_begins_the_time_anew() -> None:
    async with serving(send_much, timeout_write=30) as site:
        client = site.connect()
        await client.send_all(get())
        received = 0
        with seconds_passed() as elapsed:
            while received < 1_000_000:
                received += len(await client.receive_some(20_000))
                await anyio.sleep(25)
        assert not client.lost
    assert elapsed.seconds > 1000


async def test_write_stall_after_progress_aborts(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(send_much, timeout_write=30) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(20)
        await client.receive_some()
        with seconds_passed() as elapsed:
            await client.wait_disconnected()
        assert client.lost
    assert 30 <= elapsed.seconds <= 30 * 1.125  # progress is looked for eight times in that time
    assert reasons(caplog) == ["write-timeout"]


async def test_write_does_not_count_while_the_application_is_slow() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(3):
            await part(send, b"x")
            await anyio.sleep(1000)
        await part(send, b"", more=False)

    async with serving(app, timeout_write=30) as site:
        assert status_of(await site.answer_to(get())) == 200


# -- the whole request -----------------------------------------------------------------------------------------------


async def test_request_timeout_before_the_response_is_a_504(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began = anyio.current_time()
        try:
            await start(send)
            await anyio.sleep_forever()
        finally:
            ended.append(anyio.current_time() - began)

    async with serving(app, timeout_request=60) as site:
        response = await site.everything_after(get("/slow?a=b"))
    assert status_of(response) == 504
    assert ended == [60]
    assert reasons(caplog) == ["request-timeout"]
    assert re.search(r"request-timeout: ended GET /slow\?a=b after \d+\.\d s, waiting at \S+:\d+ \(\S+app\)",
                     caplog.text)


async def test_request_timeout_after_the_response_has_begun_aborts(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"begun")
        await anyio.sleep_forever()

    async with serving(app, timeout_request=60) as site:
        client = site.connect()
        await client.send_all(get())
        with seconds_passed() as elapsed:
            received = await client.receive_rest()
        assert received.endswith(b"begun\r\n")
        assert not looks_whole(received, client)
    assert elapsed.seconds == 60
    assert reasons(caplog) == ["request-timeout"]


async def swallow_and_return(send: Send) -> None:
    pass


async def swallow_and_reply(send: Send) -> None:
    await reply(send, b"too late")


@pytest.mark.parametrize("afterwards", [swallow_and_return, swallow_and_reply])
async def test_request_timeout_of_an_application_that_swallows_its_cancellation(
    afterwards: Callable[[Send], Awaitable[None]]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep_forever()
        except BaseException:
            await afterwards(send)

    async with serving(app, timeout_request=60) as site:
        with seconds_passed() as elapsed:
            assert status_of(await site.everything_after(get())) == 504
    assert elapsed.seconds <= 62


@pytest.mark.parametrize("with_work", [False, True])
async def test_request_timeout_makes_a_request_the_last_of_its_connection(
    with_work: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Although its application completes the response: the one of the next request would be cancelled, too."""
    served: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served.append(scope["path"])
        if scope["path"] != "/slow":
            await reply(send, b"done")
            await anyio.sleep(20)
            return
        await start(send, headers=[(b"content-length", b"8")])
        await part(send, b"be")
        with suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep(100)
        await part(send, b"stowed", more=False)

    async with serving(app, timeout_request=5) as site:
        client = site.connect()
        if with_work:
            await client.send_all(get("/work"))
            assert await receive_response(client) == ok(b"done")
        await client.send_all(get("/slow") + get("/next"))
        assert await client.receive_rest() == ok(b"bestowed")
    assert served == ["/work", "/slow"] if with_work else ["/slow"]
    assert caplog.text.count("request-timeout") == 1


async def test_request_timeout_leaves_requests_in_time_alone() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(59)
        await reply(send)

    async with serving(app, timeout_request=60) as site:
        client = site.connect()
        for _ in range(3):
            await client.send_all(get())
            assert await receive_response(client) == ok(b"")


async def test_request_timeout_names_the_await_in_the_innermost_function(caplog: pytest.LogCaptureFixture) -> None:
    async def query_the_database() -> None:
        await anyio.sleep_forever()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await query_the_database()

    async with serving(app, timeout_request=60) as site:
        await site.everything_after(get())
    assert re.search(r"waiting at \S+test_timeouts\.py:\d+ \(\S+query_the_database\)", caplog.text)


async def test_request_timeout_does_not_reach_other_connections() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(float(scope["path"][1:]))
        await reply(send)

    async with serving(app, timeout_request=60) as site:
        slow = site.connect()
        await slow.send_all(get("/100"))
        await anyio.sleep(30)
        quick = site.connect()
        await quick.send_all(get("/50"))
        assert status_of(await receive_response(slow)) == 504
        assert await receive_response(quick) == ok(b"")


# -- off -------------------------------------------------------------------------------------------------------------


async def test_what_is_off_never_strikes() -> None:
    kinds = ("header", "keep_alive", "body", "write", "request")
    off: dict[str, Any] = {f"timeout_{kind}": None for kind in kinds}
    async with serving(echo, **off) as site:
        silent, uploading, stalled = site.connect(), site.connect(), site.connect()
        await uploading.send_all(post(b"", length=1))
        stalled.send_nowait(post(b"x" * 1_000_000))
        await anyio.sleep(10 * 3600)
        await uploading.send_all(b"x")
        await silent.send_all(post(b"at last"))
        assert await receive_response(silent) == ok(b"at last")
        assert await receive_response(uploading) == ok(b"x")
        assert await receive_response(stalled) == ok(b"x" * 1_000_000)


async def test_a_body_timeout_that_is_off_asks_for_no_rate_either() -> None:
    async with serving(echo, timeout_body=None) as site, anyio.create_task_group() as sending:
        client = site.connect()
        sending.start_soon(drip, client, [post(b"", length=100), *[b"x"] * 100], 60)
        assert await receive_response(client) == ok(b"x" * 100)
        await client.aclose()
