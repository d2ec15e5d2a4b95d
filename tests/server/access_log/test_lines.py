"""One access line for each response, whatever became of it."""

from typing import Any

import anyio
import pytest

from tests.helpers.access_lines import assert_line, logged
from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.transcripts import get, post, receive_response
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


async def test_a_line_for_each_response(handler: Any) -> None:
    async with logged(hello, handler) as site:
        client = site.connect()
        for target in ("/a?b=c", "/d"):
            await client.send_all(get(target))
            await receive_response(client)
    first, second = handler.lines
    assert_line(first, "GET /a?b=c HTTP/1.1", "200 OK", 2)
    assert_line(second, "GET /d HTTP/1.1", "200 OK", 2)


async def test_lines_of_several_connections(handler: Any) -> None:
    async with logged(hello, handler) as site:
        clients = [site.connect() for _ in range(100)]
        for client in clients:
            await client.send_all(get())
        for client in clients:
            await receive_response(client)
    assert len(handler.lines) == 100


async def test_the_body_is_counted_without_its_framing(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(3):
            await part(send, b"x" * 10)
        await part(send, b"", more=False)

    async with logged(app, handler) as site:
        await site.answer_to(get(version="1.1"))
        await site.answer_to(get(version="1.0"))
    assert_line(handler.lines[0], "GET / HTTP/1.1", "200 OK", 30)
    assert_line(handler.lines[1], "GET / HTTP/1.0", "200 OK", 30)


async def test_a_head_response_has_no_bytes(handler: Any) -> None:
    async with logged(hello, handler) as site:
        await site.everything_after(get("/", "connection: close", method="HEAD"))
    assert_line(handler.lines[0], "HEAD / HTTP/1.1", "200 OK", 0)


async def test_an_unregistered_status_has_no_phrase(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, status=599)

    async with logged(app, handler) as site:
        await site.answer_to(get())
    assert_line(handler.lines[0], "GET / HTTP/1.1", "599 ?", 0)


async def test_a_failing_application_is_a_500(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError

    async with logged(app, handler) as site:
        await site.everything_after(get())
    [line] = handler.lines
    assert '"GET / HTTP/1.1" 500 Internal Server Error' in line


async def test_a_request_that_times_out_is_a_504(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    async with logged(app, handler, timeout_request=5) as site:
        await site.everything_after(get())
    [line] = handler.lines
    assert '"GET / HTTP/1.1" 504 Gateway Timeout' in line


async def test_a_body_that_never_comes_is_a_408(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)

    async with logged(app, handler) as site:
        await site.everything_after(post(b"", length=5))
    [line] = handler.lines
    assert '"POST / HTTP/1.1" 408 Request Timeout' in line


async def test_a_client_that_left_before_its_answer_is_a_499(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(10)
        await reply(send, b"too late")

    async with logged(app, handler) as site:
        client = site.connect()
        await client.send_all(get("/gone"))
        await settled()
        client.abort()
        await anyio.sleep(11)
    [line] = handler.lines
    assert_line(line, "GET /gone HTTP/1.1", "499 Client Closed Request", 0)


@pytest.mark.parametrize("app_raises", [False, True])
async def test_nobody_gets_an_answer_of_the_servers_after_leaving(handler: Any, *, app_raises: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(4 if app_raises else 3600)
        raise RuntimeError("planned")

    async with logged(app, handler, timeout_request=5, http2=True) as site, http2_client(site) as client:
        stream = await client.ask("/gone")
        await settled()
        client.h2.reset_stream(stream)
        await client.say()
        await anyio.sleep(6)
    [line] = handler.lines
    assert_line(line, "GET /gone HTTP/2", "499 Client Closed Request", 0)


async def test_a_request_cancelled_because_its_client_left_is_a_499(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    async with logged(app, handler, on_disconnect="cancel") as site:
        client = site.connect()
        await client.send_all(get("/gone"))
        await anyio.sleep(1)
        client.abort()
        await settled()
    [line] = handler.lines
    assert "499 Client Closed Request" in line


async def test_a_client_that_left_in_the_middle_keeps_its_status(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"x" * 10)
        await anyio.sleep(10)
        await part(send, b"x" * 10)
        await anyio.sleep(10)
        await part(send, b"", more=False)

    async with logged(app, handler) as site:
        client = site.connect()
        await client.send_all(get("/gone"))
        await client.receive_some()
        client.abort()
        await anyio.sleep(30)
    [line] = handler.lines
    assert '"GET /gone HTTP/1.1" 200 OK' in line


async def test_bytes_of_the_target_that_are_no_ascii_are_one_line(handler: Any) -> None:
    async with logged(hello, handler) as site:
        await site.answer_to(get("/caf%C3%A9%0D%0Afake"))
    [line] = handler.lines
    assert "\r" not in line
    assert "\n" not in line
