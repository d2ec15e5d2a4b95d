"""Persistent connections and pipelining (RFC 9112 §9.3), HTTP/1.0, HEAD: bytes in, bytes out."""

import anyio
import pytest

from tests.helpers.apps import echo, hello, part, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post, receive_response
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


async def test_requests_follow_each_other_on_one_connection() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        client = site.connect()
        for target in ("/a", "/b", "/c"):
            await client.send_all(get(target))
            assert await receive_response(client) == ok(target.encode())
        assert site.connections == 1


async def test_a_request_that_arrives_byte_by_byte_is_one_request() -> None:
    async with serving(echo) as site:
        client = site.connect()
        for byte in post(b"body"):
            await client.send_all(bytes([byte]))
        assert await receive_response(client) == ok(b"body")


async def test_pipelined_requests_are_answered_in_their_order() -> None:  # RFC 9112 §9.3.2
    async with serving(echo) as site:
        client = site.connect()
        await client.send_all(post(b"first") + get() + post(b"third"))
        assert await client.receive_exactly(3 * len(ok(b"")) + 10) == ok(b"first") + ok(b"") + ok(b"third")


async def test_pipelined_head_in_two_pieces() -> None:  # RFC 9112 §9.3.2
    async with serving(hello) as site:
        client = site.connect()
        second = get("/second")
        await client.send_all(get("/first") + second[:9])
        assert await receive_response(client) == ok(b"/first")
        await client.send_all(second[9:])
        assert await receive_response(client) == ok(b"/second")


async def test_a_pipelining_client_does_not_keep_others_waiting() -> None:
    served: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served.append(scope["path"])
        await reply(send)

    async with serving(app) as site:
        eager, other = site.connect(), site.connect()
        await eager.send_all(get("/eager") * 50)
        await other.send_all(get("/other"))
        await receive_response(other)
        await eager.receive_exactly(50 * len(ok(b"")))
    assert served.index("/other") < 10


async def test_connection_close_of_the_client_is_echoed_and_obeyed() -> None:  # RFC 9112 §9.6
    async with serving(hello) as site:
        with seconds_passed() as elapsed:
            assert await site.everything_after(get("/", "connection: close")) == ok(b"/", "connection: close")
    assert elapsed.seconds == 0


async def test_requests_after_connection_close_are_not_served() -> None:  # RFC 9112 §9.6
    async with serving(hello) as site:
        received = await site.everything_after(get("/a", "connection: close") + get("/b"))
    assert received == ok(b"/a", "connection: close")


async def test_bytes_after_connection_close_do_not_cost_the_client_its_answer() -> None:  # RFC 9112 §9.6
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(get("/a", "connection: close"))
        await client.send_all(b"\r\n")  # some clients put one after a request
        await settled()
        assert await client.receive_rest() == ok(b"/a", "connection: close")
        assert not client.lost


async def test_connection_close_of_the_application_closes() -> None:  # RFC 9112 §9.6
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"bye", headers=[(b"connection", b"close")])

    async with serving(app) as site:
        assert await site.everything_after(get()) == ok(b"bye", "connection: close")


async def test_http_1_0_closes_after_one_response() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        with seconds_passed() as elapsed:
            assert await site.everything_after(b"GET / HTTP/1.0\r\n\r\n") == ok(b"/", "connection: close")
    assert elapsed.seconds == 0


async def test_http_1_0_persists_when_it_asks_to() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        client = site.connect()
        for target in ("/a", "/b"):
            await client.send_all(get(target, "connection: keep-alive", version="1.0"))
            assert await receive_response(client) == ok(target.encode(), "connection: keep-alive")


async def streamed(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await part(send, b"one")
    await anyio.sleep(1)
    await part(send, b"two")
    await part(send, b"", more=False)


async def test_a_body_of_unknown_length_is_chunked() -> None:  # RFC 9112 §7.1
    async with serving(streamed) as site:
        response = await site.answer_to(get())
    assert response == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" b"3\r\none\r\n" b"3\r\ntwo\r\n" b"0\r\n\r\n")


async def test_a_body_of_unknown_length_ends_an_http_1_0_connection() -> None:  # RFC 9112 §6.3
    async with serving(streamed) as site:
        response = await site.everything_after(get("/", "connection: keep-alive", version="1.0"))
    assert response == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nonetwo"


async def test_head_gets_the_head_of_the_response_and_nothing_else() -> None:  # RFC 9110 §9.3.2
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(get("/five", method="HEAD") + get("/six"))
        head = await receive_response(client, head_only=True)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert await receive_response(client) == ok(b"/six")


async def test_head_keeps_the_content_length_of_the_application() -> None:  # RFC 9110 §8.6
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"x" * 1000, headers=[(b"content-length", b"1000")])

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get(method="HEAD"))
        assert await receive_response(client, head_only=True) == b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_bodiless_status_leaves_the_connection_in_step(status: int) -> None:  # RFC 9112 §6.3
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"unwanted", status=status)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get() + get())
        first, second = await receive_response(client), await receive_response(client)
    assert first == second
    assert b"unwanted" not in first


async def test_a_client_that_finishes_sending_still_gets_its_answers() -> None:  # RFC 9112 §9.6
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1)
        await hello(scope, receive, send)

    async with serving(slow) as site:
        client = site.connect()
        await client.send_all(get("/a") + get("/b"))
        client.send_eof()
        assert await client.receive_rest() == ok(b"/a") + ok(b"/b")
        assert not client.lost


async def test_a_client_that_sends_nothing_is_let_go_in_peace() -> None:
    async with serving(hello) as site:
        client = site.connect()
        client.send_eof()
        assert await client.receive_rest() == b""
        assert not client.lost


async def test_without_keep_alive_each_response_says_that_it_is_the_last() -> None:  # RFC 9112 §9.6
    async with serving(hello, timeout_keep_alive=0) as site:
        client = site.connect()
        await client.send_all(get("/first") + get("/second"))
        assert await client.receive_rest() == ok(b"/first", "connection: close")
        assert not client.lost


async def test_an_empty_line_before_a_request_is_no_end() -> None:  # RFC 9112 §2.2
    async with serving(hello) as site:
        client = site.connect()
        for target in ("/first", "/second"):
            await client.send_all(b"\r\n")
            await settled()
            await client.send_all(get(target))
            assert await receive_response(client) == ok(target.encode())


async def test_an_empty_line_after_a_body_is_no_end() -> None:  # RFC 9112 §2.2
    async with serving(echo, timeout_keep_alive=75) as site:
        client = site.connect()
        await client.send_all(post(b"body") + b"\r\n")
        assert await receive_response(client) == ok(b"body")
        await anyio.sleep(70)
        await client.send_all(get())
        assert await receive_response(client) == ok(b"")


async def test_an_empty_line_and_nothing_else_is_not_waited_for_longer_than_a_head() -> None:
    async with serving(hello, timeout_header=10) as site:
        client = site.connect()
        await client.send_all(b"\r\n")
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == b""
    assert elapsed.seconds == 10
