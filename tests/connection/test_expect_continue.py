"""When a client that waits for ``100 Continue`` gets it (RFC 9110 §10.1.1)."""

import anyio

from tests.helpers.apps import echo, hello, part, read_body, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post, receive_response
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECT = "expect: 100-continue"


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
