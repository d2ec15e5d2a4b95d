"""What ``receive()`` gives for a request body, and what becomes of a body that nobody reads (ASGI HTTP, "Request")."""

import anyio
import pytest

from tests.helpers.apps import echo, hello, part, read_body, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post, receive_response, status_of
from tests.helpers.work_clock import WorkClock
from trioserve._streams.memory import MemoryClient
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECT = "expect: 100-continue"


class Recorder:
    """An application that keeps what ``receive()`` gives until the body's end, then answers with ``ok``."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.messages.append(await receive())
        while self.messages[-1].get("more_body"):
            self.messages.append(await receive())
        await reply(send)


# -- events ----------------------------------------------------------------------------------------------------------


async def test_an_empty_body_is_one_event() -> None:  # ASGI HTTP, "Request"
    app = Recorder()
    async with serving(app) as site:
        await site.answer_to(get())
    assert app.messages == [{"type": "http.request", "body": b"", "more_body": False}]


async def test_a_body_that_came_with_its_head_is_one_event() -> None:
    app = Recorder()
    async with serving(app) as site:
        await site.answer_to(post(b"body"))
    assert app.messages == [{"type": "http.request", "body": b"body", "more_body": False}]


async def test_a_body_is_handed_on_as_it_arrives() -> None:
    app = Recorder()
    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"", length=6))
        for piece in (b"ab", b"cd", b"ef"):
            await settled()
            await client.send_all(piece)
        await receive_response(client)
    assert [(message["body"], message["more_body"]) for message in app.messages] == [
        (b"ab", True), (b"cd", True), (b"ef", False)]


async def test_chunks_are_decoded() -> None:  # RFC 9112 §7.1
    app = Recorder()
    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get("/", "transfer-encoding: chunked", method="POST"))
        for piece in (b"2\r\nab\r\n", b"3;x=y\r\ncd", b"e\r\n", b"0\r\ntrailer: 1\r\n\r\n"):
            await settled()
            await client.send_all(piece)
        assert await receive_response(client) == ok(b"")
    assert b"".join(message["body"] for message in app.messages) == b"abcde"
    assert [message["more_body"] for message in app.messages][-2:] == [True, False]


async def test_what_follows_a_body_is_the_next_request() -> None:  # RFC 9112 §9.3.2
    async with serving(echo) as site:
        client = site.connect()
        await client.send_all(post(b"one") + post(b"two"))
        assert await receive_response(client) == ok(b"one")
        assert await receive_response(client) == ok(b"two")


async def test_a_body_larger_than_what_the_network_holds() -> None:
    async with serving(echo) as site:
        client = site.connect()
        body = b"0123456789" * 100_000
        async with anyio.create_task_group() as sending:
            sending.start_soon(client.send_all, post(body))
            assert await receive_response(client) == ok(body)


async def test_a_cancelled_receive_loses_nothing_of_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    WorkClock(monkeypatch, tick=0.0003)  # so that some are cancelled in a checkpoint
    received = bytearray()
    cancelled = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal cancelled
        message: Message = {"more_body": True}
        while message["more_body"]:
            message = {"more_body": True, "body": b""}
            with anyio.CancelScope() as impatience:
                impatience.cancel()
                message = await receive()
            if impatience.cancelled_caught:
                cancelled += 1
                message = await receive()
            received.extend(message["body"])
        await reply(send)

    body = b"0123456789abcdef" * 200_000
    async with serving(app, capacity=4_000_000) as site:
        assert status_of(await site.answer_to(post(body))) == 200
    assert received == body
    assert cancelled


async def test_an_impatient_receive_gets_what_is_there_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = WorkClock(monkeypatch)
    received: list[bytes] = []
    cancelled = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal cancelled
        received.append((await receive())["body"])
        await settled()  # the second half is here
        received.append((await receive())["body"])
        await settled()
        clock.compute(1.0)  # its turn is over
        while len(received) < 3 and cancelled < 10:
            with anyio.CancelScope() as impatience:
                impatience.cancel()
                received.append((await receive())["body"])
            cancelled += impatience.cancelled_caught
        await reply(send)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"ab", length=6))
        for piece in (b"cd", b"ef"):
            await settled()
            await client.send_all(piece)
        assert status_of(await receive_response(client)) == 200
    assert received == [b"ab", b"cd", b"ef"]
    assert cancelled == 1


@pytest.mark.parametrize("rest", [b"", b"2\r\nab", b"zz\r\n"], ids=["no chunk", "half a chunk", "no chunk size"])
async def test_a_truncated_body_is_a_disconnect_and_never_an_end(rest: bytes) -> None:  # ASGI HTTP, "Disconnect"
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not messages or messages[-1]["type"] != "http.disconnect":
            messages.append(await receive())
        messages.append(await receive())

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get("/", "transfer-encoding: chunked", method="POST") + b"1\r\nx\r\n" + rest)
        client.send_eof()
        received = await client.receive_rest()
    assert [message["type"] for message in messages].count("http.disconnect") == 2
    assert not any(message.get("more_body") is False for message in messages)
    assert status_of(received) == 400


async def test_a_client_lost_in_the_middle_of_its_body_is_a_disconnect(caplog: pytest.LogCaptureFixture) -> None:
    messages: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not messages or messages[-1]["type"] != "http.disconnect":
            messages.append(await receive())
        await reply(send)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"half", length=8))
        await settled()
        client.abort()
        await settled()
        assert site.connections == 0
    assert [message["type"] for message in messages] == ["http.request", "http.disconnect"]
    assert not caplog.records


# -- 100 (Continue) --------------------------------------------------------------------------------------------------


async def test_continue_is_sent_when_the_application_first_asks() -> None:  # RFC 9110 §10.1.1
    asked = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asked.wait()
        await reply(send, await read_body(receive))

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"", EXPECT, length=4))
        await settled()
        assert client.receive_nowait() is None
        asked.set()
        assert await client.receive_some() == CONTINUE
        await client.send_all(b"body")
        assert await client.receive_rest() == ok(b"body")


async def test_continue_is_sent_once() -> None:  # RFC 9110 §10.1.1
    async with serving(echo) as site:
        client = site.connect()
        await client.send_all(post(b"", EXPECT, length=4))
        assert await client.receive_some() == CONTINUE
        for byte in (b"b", b"o", b"d", b"y"):
            await client.send_all(byte)
            await settled()
        assert await receive_response(client) == ok(b"body")


async def test_continue_is_not_sent_when_the_body_has_come_already() -> None:  # RFC 9110 §10.1.1
    async with serving(echo) as site:
        assert await site.answer_to(post(b"body", EXPECT)) == ok(b"body")


async def test_continue_is_not_sent_to_http_1_0() -> None:  # RFC 9110 §10.1.1
    async with serving(echo) as site:
        client = site.connect()
        await client.send_all(get("/", EXPECT, "content-length: 4", method="POST", version="1.0"))
        await settled()
        assert client.receive_nowait() is None
        await client.send_all(b"body")
        assert await client.receive_rest() == ok(b"body", "connection: close")


async def test_no_continue_after_a_final_status_and_the_connection_closes() -> None:  # RFC 9110 §10.1.1
    async with serving(hello) as site:
        received = await site.everything_after(post(b"", EXPECT, length=4))
    assert received == ok(b"/", "connection: close")


async def test_the_connection_closes_after_expected_chunks_that_were_not_read() -> None:  # RFC 9110 §10.1.1
    async with serving(hello) as site:
        with seconds_passed() as elapsed:
            received = await site.everything_after(get("/", EXPECT, "transfer-encoding: chunked", method="POST"))
    assert received == ok(b"/", "connection: close")
    assert elapsed.seconds <= 3


async def test_a_final_status_is_not_followed_by_continue_when_the_body_is_asked_for_late() -> None:
    first: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"no, ")
        with anyio.move_on_after(5):
            first.append(await receive())
        await part(send, b"thanks", more=False)

    async with serving(app) as site:
        received = await site.everything_after(post(b"", EXPECT, length=4))
    assert b"100 Continue" not in received
    assert received.endswith(b"4\r\nno, \r\n6\r\nthanks\r\n0\r\n\r\n")
    assert b"connection: close" in received
    assert not any(message["type"] == "http.request" for message in first)


async def test_an_expected_body_that_is_not_read_is_not_taken_for_a_request() -> None:  # RFC 9110 §10.1.1
    served: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served.append(scope["path"])
        await reply(send, status=403)

    async with serving(app) as site:
        smuggled = get("/smuggled")
        client = site.connect()
        await client.send_all(post(b"", EXPECT, length=len(smuggled)))
        await receive_response(client)
        await client.send_all(smuggled)
        await client.receive_rest()
    assert served == ["/"]


# -- a body that is not read -----------------------------------------------------------------------------------------


async def test_a_small_unread_body_is_skipped() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"unread") + get("/next"))
        assert await receive_response(client) == ok(b"/")
        assert await receive_response(client) == ok(b"/next")


async def test_a_small_unread_body_that_is_still_on_its_way_is_skipped() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"un", length=6))
        assert await receive_response(client) == ok(b"/")
        await client.send_all(b"read" + get("/next"))
        assert await receive_response(client) == ok(b"/next")


async def test_an_unread_body_that_does_not_come_ends_the_connection_quietly(
    caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(hello, timeout_body=30) as site:
        client = site.connect()
        await client.send_all(post(b"un", length=6))
        assert await receive_response(client) == ok(b"/")
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == b""
    assert elapsed.seconds == 30
    assert not caplog.records


async def test_unread_chunks_are_skipped() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        client = site.connect()
        body = b"4\r\nbody\r\n0\r\n\r\n"
        await client.send_all(get("/", "transfer-encoding: chunked", method="POST") + body + get("/next"))
        assert await receive_response(client) == ok(b"/")
        assert await receive_response(client) == ok(b"/next")


async def test_an_unread_body_of_more_than_one_read_is_skipped() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"x" * 200_000) + get("/next"))
        assert await receive_response(client) == ok(b"/")
        assert await receive_response(client) == ok(b"/next")


async def test_a_large_unread_body_ends_the_connection() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        received = await site.everything_after(post(b"x", length=10_000_000))
    assert received == ok(b"/", "connection: close")


async def test_endless_unread_chunks_end_the_connection() -> None:  # RFC 9112 §9.3
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    async with serving(hello) as site:
        client = site.connect()
        async with anyio.create_task_group() as sending:

            @sending.start_soon
            async def send_for_ever() -> None:
                await client.send_all(get("/", "transfer-encoding: chunked", method="POST"))
                while not client.lost:
                    client.send_nowait(chunk)
                    await anyio.sleep(0.01)

            with seconds_passed() as elapsed:
                assert await client.receive_rest() == ok(b"/")
        assert client.lost
    assert elapsed.seconds <= 3


async def test_a_client_that_sends_before_it_reads_still_gets_the_answer() -> None:  # RFC 9112 §9.6, lingering close
    async with serving(hello) as site:
        client = site.connect()
        body = b"x" * 500_000
        await client.send_all(post(body, length=len(body)))
        await settled()
        assert await client.receive_rest() == ok(b"/", "connection: close")
        assert not client.lost


async def test_lingering_ends_when_the_client_does() -> None:  # RFC 9112 §9.6
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"", length=10_000_000))
        await receive_response(client)
        with seconds_passed() as elapsed:
            await client.aclose()
            await settled()
            assert site.connections == 0
    assert elapsed.seconds == 0


async def linger(client: MemoryClient, body: bytes, *, every: float) -> float:
    """Go on with an upload that is answered already; return how many seconds somebody took it for."""
    await client.send_all(post(b"", length=10_000_000_000))
    assert await client.receive_rest() == ok(b"/", "connection: close")  # the connection is still half open
    with seconds_passed() as elapsed:
        client.send_nowait(body)
        while not client.lost:
            await anyio.sleep(every)
            client.send_nowait(body)
    return elapsed.seconds


async def test_lingering_ends_when_the_client_is_silent() -> None:  # RFC 9112 §9.6
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"", length=10_000_000))
        await receive_response(client)
        await anyio.sleep(1.9)
        assert site.connections == 1
        await anyio.sleep(0.2)
        assert site.connections == 0


async def test_lingering_goes_on_while_bytes_come_but_not_for_ever() -> None:  # RFC 9112 §9.6
    async with serving(hello) as site:
        assert 30 <= await linger(site.connect(), b"x", every=1.9) < 32
        assert await linger(site.connect(), b"x", every=2.1) < 2.2


async def test_lingering_takes_no_more_than_256_mib() -> None:  # RFC 9112 §9.6
    mebibyte = b"x" * 1024 * 1024
    async with serving(hello, capacity=2 * len(mebibyte)) as site:
        seconds = await linger(site.connect(), mebibyte, every=0.01)
    assert 2.5 <= seconds <= 2.7


async def test_the_answer_to_an_upload_that_goes_on_for_long_can_still_be_read() -> None:  # RFC 9112 §9.6
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"", length=10_000_000))
        for _ in range(20):
            await anyio.sleep(1)
            await client.send_all(b"x" * 1000)
        assert await client.receive_rest() == ok(b"/", "connection: close")
        assert not client.lost
