"""The server's own answers: plain text, ``connection: close``, and then the end (RFC 9110 §15.5, §15.6)."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import hello, ignore, part, read_body, reply, start
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, looks_whole, ok, post, receive_response, status_of
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


async def read_then_reply(scope: Scope, receive: Receive, send: Send) -> None:
    """A wary application: answers 200 although the body may have broken off."""
    try:
        await read_body(receive)
    finally:
        await reply(send)


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("the application's own secret")


async def sleep_long(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep(3600)


def assert_is_error_answer(response: bytes, status: int) -> None:
    head, _, body = response.partition(b"\r\n\r\n")
    status_line, *fields = head.split(b"\r\n")
    assert re.fullmatch(rb"HTTP/1\.1 %d [A-Za-z -]+" % status, status_line), response
    assert sorted(fields) == [
        b"connection: close", b"content-length: %d" % len(body), b"content-type: text/plain; charset=utf-8",
        *([b"retry-after: 1"] if status == 503 else [])]
    assert re.fullmatch(rb"[ -~]+\n", body), response


REFUSED_HEADS: list[Any] = [
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="400 RFC 9112 3.2 no Host"),
    pytest.param(b"GET / HTTP/1.1\nhost: a\n\n", 400, id="400 RFC 9112 2.2 bare LF"),
    pytest.param(get("/", "a : b"), 400, id="400 RFC 9112 5.1 space before the colon"),
    pytest.param(get("/", "a: b", " folded"), 400, id="400 RFC 9112 5.2 obs-fold"),
    pytest.param(get("/", "content-length: 1", "transfer-encoding: chunked"), 400, id="400 RFC 9112 6.1 both framings"),
    pytest.param(get("/", "content-length: +1"), 400, id="400 RFC 9112 6.3 no number"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, id="400 TLS on a plain port"),
    pytest.param(get("/", "content-length: 1001"), 413, id="413 RFC 9110 15.5.14"),
    pytest.param(get("/" + "x" * 1000), 414, id="414 RFC 9110 15.5.15"),
    pytest.param(b"GET /" + b"x" * 1000, 414, id="414 RFC 9110 15.5.15, unfinished"),
    pytest.param(get("/", "a: " + "x" * 5000), 431, id="431 RFC 6585 5 bytes"),
    pytest.param(get("/", "a: b\r\nc: " + "x" * 5000)[:-4], 431, id="431 RFC 6585 5 bytes, unfinished"),
    pytest.param(get("/", *["a: b"] * 21), 431, id="431 RFC 6585 5 fields"),
    pytest.param(get("/", "transfer-encoding: gzip"), 400, id="400 RFC 9112 6.3 no chunks"),
    pytest.param(get("/", "transfer-encoding: gzip, chunked"), 501, id="501 RFC 9112 6.1"),
    pytest.param(get("/").replace(b"GET", b"head"), 501, id="501 RFC 9110 9.1"),
    pytest.param(get(version="2.0"), 505, id="505 RFC 9110 15.6.6"),
]
SMALL_LIMITS: dict[str, Any] = {
    "limit_request_line": 500, "limit_header_bytes": 4000, "limit_header_count": 20, "limit_request_body": 1000}


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize(("request_bytes", "status"), REFUSED_HEADS)
async def test_a_head_is_refused(request_bytes: bytes, status: int, http: str) -> None:
    if http == "httptools":
        pytest.importorskip("httptools")
    async with serving(hello, http=http, **SMALL_LIMITS) as site:
        with seconds_passed() as elapsed:
            assert_is_error_answer(await site.everything_after(request_bytes), status)
        assert await site.answer_to(get("/alive")) == ok(b"/alive")
    assert elapsed.seconds <= 2  # the client has not closed its side: the server lingers


async def test_a_refusal_comes_after_the_answers_before_it() -> None:  # RFC 9112 §9.3.2
    async with serving(hello) as site:
        received = await site.everything_after(get("/first") + b"nonsense\r\n\r\n")
    first, second = received[:len(ok(b"/first"))], received[len(ok(b"/first")):]
    assert first == ok(b"/first")
    assert_is_error_answer(second, 400)


async def test_nothing_after_a_refused_head_is_taken_for_a_request() -> None:  # RFC 9112 §2.2
    async with serving(hello) as site:
        received = await site.everything_after(b"GET / HTTP/1.1\r\n\r\n" + get("/smuggled"))
    assert_is_error_answer(received, 400)


async def test_a_refusal_reaches_a_client_that_is_still_sending() -> None:  # RFC 9112 §9.6
    async with serving(hello, **SMALL_LIMITS) as site:
        client = site.connect()
        client.send_nowait(get("/", "content-length: 500000") + b"x" * 500_000)
        await settled()
        assert_is_error_answer(await client.receive_rest(), 413)
        assert not client.lost


# -- errors in the body ----------------------------------------------------------------------------------------------


CHUNKED = get("/", "transfer-encoding: chunked", method="POST")
REFUSED_BODIES: list[Any] = [
    pytest.param(CHUNKED + b"zz\r\n", 400, id="400 RFC 9112 7.1 chunk size"),
    pytest.param(CHUNKED + b"1\r\nxy\r\n", 400, id="400 RFC 9112 7.1 chunk without its end"),
    pytest.param(CHUNKED + b"3e9\r\n", 413, id="413 RFC 9110 15.5.14 chunks"),
    pytest.param(CHUNKED + b"0\r\na: " + b"x" * 9000, 431, id="431 RFC 6585 5 trailer section"),
]


@pytest.mark.parametrize(("request_bytes", "status"), REFUSED_BODIES)
async def test_a_body_is_refused_before_the_response_has_begun(request_bytes: bytes, status: int) -> None:
    async with serving(read_then_reply, limit_request_body=1000) as site:
        assert_is_error_answer(await site.everything_after(request_bytes), status)


@pytest.mark.parametrize(("request_bytes", "status"), REFUSED_BODIES)
async def test_a_body_that_breaks_after_the_response_has_begun_cuts_it_short(
    request_bytes: bytes, status: int
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"begun")
        await anyio.lowlevel.checkpoint()
        await read_body(receive)

    async with serving(app, limit_request_body=1000) as site:
        client = site.connect()
        await client.send_all(request_bytes)
        received = await client.receive_rest()
        assert not looks_whole(received, client)
    assert received.endswith(b"begun\r\n")


# -- other errors ----------------------------------------------------------------------------------------------------


async def answer_408_head(site: Site) -> bytes:
    return await site.everything_after(get()[:-5])


async def answer_408_body(site: Site) -> bytes:
    return await site.everything_after(post(b"", length=9))


async def answer(site: Site) -> bytes:
    return await site.everything_after(get())


async def answer_503(site: Site) -> bytes:
    client = site.connect()
    await client.send_all(get())
    await settled()
    return await answer(site)


OTHER_ERRORS: list[Any] = [
    pytest.param(hello, answer_408_head, 408, id="408 RFC 9110 15.5.9 head"),
    pytest.param(read_then_reply, answer_408_body, 408, id="408 RFC 9110 15.5.9 body"),
    pytest.param(fail, answer, 500, id="500 RFC 9110 15.6.1 exception"),
    pytest.param(ignore, answer, 500, id="500 RFC 9110 15.6.1 no response"),
    pytest.param(sleep_long, answer_503, 503, id="503 RFC 9110 15.6.4"),
    pytest.param(sleep_long, answer, 504, id="504 RFC 9110 15.6.5"),
]


@pytest.mark.parametrize(("app", "provoke", "status"), OTHER_ERRORS)
async def test_an_error_answer(app: App, provoke: Callable[[Site], Awaitable[bytes]], status: int) -> None:
    async with serving(app, limit_concurrency=1, timeout_request=60) as site:
        response = await provoke(site)
    assert_is_error_answer(response, status)
    assert b"secret" not in response


@pytest.mark.parametrize(("app", "status"), [(fail, 500), (sleep_long, 504)])
async def test_an_error_answer_to_head_has_no_body(app: App, status: int) -> None:  # RFC 9110 §9.3.2
    async with serving(app, timeout_request=60) as site:
        response = await site.everything_after(get(method="HEAD"))
    assert status_of(response) == status
    assert response.endswith(b"connection: close\r\n\r\n")


@pytest.mark.parametrize(("request_bytes", "status"), [
    pytest.param(b"HEAD / HTTP/1.1\r\n\r\n", 400, id="400 no Host"),
    pytest.param(b"\r\nHEAD / HTTP/1.1\r\n\r\n", 400, id="400 after an empty line"),
    pytest.param(get("/ok") + b"HEAD / HTTP/1.1\r\n\r\n", 400, id="400 second request"),
    pytest.param(b"HEAD / HT", 408, id="408"),
    pytest.param(get("/", "content-length: 1001", method="HEAD"), 413, id="413"),
    pytest.param(b"HEAD /" + b"x" * 1000, 414, id="414 unfinished"),
    pytest.param(b"HEAD /" + b"x" * 1000 + b" HTTP/1.1\r\n\r\n", 414, id="414"),
    pytest.param(b"HEAD / HTTP/1.1\r\na: " + b"x" * 5000, 431, id="431 unfinished"),
    pytest.param(get("/", *["a: b"] * 21, method="HEAD"), 431, id="431 fields"),
    pytest.param(get(version="2.0", method="HEAD"), 505, id="505"),
])  # fmt: skip
async def test_a_refused_head_request_is_answered_without_a_body(request_bytes: bytes, status: int) -> None:
    async with serving(hello, **SMALL_LIMITS) as site:  # RFC 9110 §9.3.2
        response = await site.everything_after(request_bytes)
    assert status_of(response.removeprefix(ok(b"/ok"))) == status
    assert response.endswith(b"connection: close\r\n\r\n")


async def test_an_error_answer_has_the_standing_fields() -> None:
    async with serving(fail, date_header=True, server_header=True, header=("X-From: here",)) as site:
        response = await site.answer_to(get())
    assert re.search(rb"\r\ndate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", response)
    assert b"\r\nserver: trioserve\r\n" in response
    assert b"\r\nx-from: here\r\n" in response


@pytest.mark.parametrize("server_header", [True, False])
async def test_a_server_field_of_the_operator_takes_the_place_of_ours(server_header: bool) -> None:
    async with serving(hello, server_header=server_header, header=("X-From: here", "Server: mine")) as site:
        response = await site.answer_to(get())
    assert response == ok(b"/", "server: mine", "x-from: here")


async def test_the_connection_ends_after_an_error_answer() -> None:  # RFC 9112 §9.6
    async with serving(fail) as site:
        client = site.connect()
        await client.send_all(get())
        assert status_of(await receive_response(client)) == 500
        assert await client.receive_some() == b""
        await client.aclose()
        await settled()
        assert site.connections == 0
