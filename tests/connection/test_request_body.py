"""What ``receive()`` gives for a request body (ASGI HTTP, "Request")."""

import anyio
import pytest

from tests.helpers.apps import echo, reply
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post, receive_response, status_of
from tests.helpers.work_clock import WorkClock
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import settled


class Recorder:
    """An application that keeps what ``receive()`` gives until the body's end, then answers with ``ok``."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.messages.append(await receive())
        while self.messages[-1].get("more_body"):
            self.messages.append(await receive())
        await reply(send)


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
