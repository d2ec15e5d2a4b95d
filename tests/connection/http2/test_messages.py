"""Requests and their answers over HTTP/2, in memory, with either engine."""

from typing import Any

import anyio
import pytest

from tests.helpers.apps import echo, hello, part, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.http2_numbers import NO_ERROR
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, receive_response
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


async def test_a_request_and_its_answer(options: dict[str, Any]) -> None:
    async with serving(hello, **options) as site, http2_client(site) as client:
        answer = await client.get("/path")
    assert (answer.status, answer.body, answer.ended) == (200, b"/path", True)
    assert answer.fields == [(b":status", b"200")]


async def test_the_scope(options: dict[str, Any]) -> None:  # ASGI HTTP 2.5, RFC 9113 §8.2.3, §8.3.1
    scopes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await reply(send)

    fields = [(b"x-a", b"1"), (b"cookie", b"a=1"), (b"x-a", b"2"), (b"cookie", b"b=2")]
    async with serving(app, **options) as site, http2_client(site) as client:
        await client.get("/a%20b?c=d", fields=fields)
    [scope] = scopes
    assert (scope["http_version"], scope["path"], scope["raw_path"], scope["query_string"]) == (
        "2", "/a b", b"/a%20b", b"c=d")
    assert [tuple(field) for field in scope["headers"]] == [
        (b"host", b"a"), (b"x-a", b"1"), (b"cookie", b"a=1; b=2"), (b"x-a", b"2")]
    assert {"http.response.trailers", "http.response.early_hint"} <= scope["extensions"].keys()


async def test_a_body_arrives_whole(options: dict[str, Any]) -> None:
    body = bytes(range(256)) * 8192  # several windows
    async with serving(echo, **options) as site, http2_client(site) as client:
        answer = await client.post(body)
    assert answer.body == body


async def test_hints_parts_and_trailers(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>"]})
        await send({"type": "http.response.start", "status": 201, "headers": [(b"X-A", b" 1 ")], "trailers": True})
        await part(send, b"ab")
        await part(send, b"c", more=False)
        await send({"type": "http.response.trailers", "headers": [(b"X-Sum", b"3")]})

    async with serving(app, **options) as site, http2_client(site) as client:
        answer = await client.get()
    assert answer.interim == [(b":status", b"103"), (b"link", b"</a.css>")]
    assert answer.fields == [(b":status", b"201"), (b"x-a", b"1")]
    assert (answer.body, answer.trailers, answer.ended) == (b"abc", [(b"x-sum", b"3")], True)


async def test_request_trailers_end_the_body_and_are_dropped(options: dict[str, Any]) -> None:
    async with serving(echo, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        await client.send(stream, b"abc")
        client.h2.send_headers(stream, [(b"x-sum", b"3")], end_stream=True)
        await client.say()
        assert (await client.answer(stream)).body == b"abc"


async def test_a_hint_within_the_body_is_let_go(options: dict[str, Any]) -> None:  # ASGI extensions, "Early Hints"
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"a")
        await send({"type": "http.response.early_hint", "links": [b"</a.css>"]})
        await send({"type": "http.response.body", "body": b"b"})

    async with serving(app, **options) as site, http2_client(site) as client:
        answer = await client.get()
    assert (answer.interim, answer.status, answer.body, answer.ended) == ([], 200, b"ab", True)


async def test_a_head_request_lacks_nothing_without_its_trailers(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "trailers": True})
        await send({"type": "http.response.body", "body": b"a"})

    async with serving(app, **options) as site, http2_client(site) as client:
        answer = await client.get(method=b"HEAD")
    assert (answer.status, answer.body, answer.ended, answer.reset) == (200, b"", True, None)


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_answers_with_a_status_that_has_no_content(options: dict[str, Any], status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"unwanted", status)

    async with serving(app, **options) as site, http2_client(site) as client:
        answer = await client.get()
    length = [(b"content-length", b"0")] if status == 205 else []
    assert (answer.fields, answer.body, answer.ended) == ([(b":status", b"%d" % status), *length], b"", True)


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
async def test_answers_without_a_body(options: dict[str, Any], method: bytes, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"unwanted", status, [(b"connection", b"close"), (b"transfer-encoding", b"chunked")])

    async with serving(app, **options) as site, http2_client(site) as client:
        answer = await client.get(method=method)
        assert (answer.fields, answer.body, answer.ended) == ([(b":status", b"%d" % status)], b"", True)
        assert (await client.get()).ended


async def test_100_continue(options: dict[str, Any]) -> None:  # RFC 9110 §10.1.1
    async with serving(echo, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", fields=[(b"expect", b"100-continue")], ends=False)
        while not client.answers[stream].interim:
            await client.listen()
        assert client.answers[stream].interim == [(b":status", b"100")]
        await client.send(stream, b"now", ends=True)
        assert (await client.answer(stream)).body == b"now"


async def test_a_success_before_the_body_lets_go_of_the_rest(options: dict[str, Any]) -> None:  # RFC 9113 §8.1
    async with serving(hello, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        answer = await client.answer(stream)
        assert (answer.status, answer.ended) == (200, True)
        with seconds_passed() as elapsed:
            while answer.reset is None:
                await client.listen()
        assert answer.reset == NO_ERROR
        assert elapsed.seconds < 1
        assert (await client.get()).ended


async def too_large(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, b"", 413)


async def test_a_client_may_go_on_sending_after_its_answer(options: dict[str, Any]) -> None:  # RFC 9113 §8.1
    async with serving(too_large, **options, limit_http2_streams=1) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        assert (await client.answer(stream)).ended
        await client.send(stream, bytes(1_000_000), ends=True)  # several windows
        assert (await client.get()).ended
        assert client.answers[stream].reset is None


async def test_a_client_that_stops_sending_after_its_answer(options: dict[str, Any]) -> None:  # RFC 9113 §8.1
    async with serving(too_large, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        answer = await client.answer(stream)
        await client.send(stream, bytes(1000))
        await anyio.sleep(1)
        await client.send(stream, bytes(1000))
        with seconds_passed() as elapsed:
            while answer.reset is None:
                await client.listen()
        assert (answer.status, answer.ended, answer.reset) == (413, True, NO_ERROR)
        assert 2 <= elapsed.seconds <= 4
        assert (await client.get()).ended


async def test_what_a_client_goes_on_sending_is_in_nobodys_way(options: dict[str, Any]) -> None:
    async with serving(too_large, **options, limit_http2_streams=1) as site, http2_client(site) as client:
        client.h2.remote_settings[3] = 2  # as if it did not count streams
        stream = await client.ask(method=b"POST", ends=False)
        assert (await client.answer(stream)).ended
        with seconds_passed() as elapsed:
            assert (await client.get()).ended
        assert client.answers[stream].reset == NO_ERROR
        assert elapsed.seconds < 1


async def test_a_client_that_never_stops_sending_after_its_answer(options: dict[str, Any]) -> None:
    async with serving(too_large, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        answer = await client.answer(stream)
        with seconds_passed() as elapsed, anyio.move_on_after(100):
            while answer.reset is None:
                await client.send(stream, b"x")
                with anyio.move_on_after(1):
                    await client.listen()
        assert answer.reset == NO_ERROR
        assert 29 <= elapsed.seconds <= 32


async def test_an_application_that_goes_on_after_its_answer(options: dict[str, Any]) -> None:
    gone_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send)
        await anyio.sleep(3)
        gone_on.set()

    async with serving(app, **options) as site, http2_client(site) as client:
        with seconds_passed() as elapsed:
            for _ in range(5):
                assert (await client.get()).ended
        assert elapsed.seconds == 0
        await gone_on.wait()


async def test_many_streams_at_once(options: dict[str, Any]) -> None:
    running, all_run = 0, anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        running += 1
        if running == 100:
            all_run.set()
        await all_run.wait()
        await reply(send, scope["path"].encode())

    async with serving(app, **options) as site, http2_client(site) as client:
        streams = [await client.ask(f"/{number}") for number in range(100)]
        for number, stream in enumerate(streams):
            assert (await client.answer(stream)).body == b"/%d" % number


async def test_http1_on_the_same_port(options: dict[str, Any]) -> None:
    async with serving(hello, **options) as site:
        client = site.connect()
        for byte in get("/old"):
            await client.send_all(bytes([byte]))
            await settled()
        assert await receive_response(client) == ok(b"/old")


async def test_without_the_option_cleartext_is_http1() -> None:
    async with serving(hello) as site:
        answer = await site.everything_after(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 505 ")
