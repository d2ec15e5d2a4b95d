"""Heads in HTTP/2 that are larger than engines like: of requests and of responses, with either engine."""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from hpack import Encoder

from tests.helpers.apps import echo, hello, part, reply
from tests.helpers.http2_client import Answer, Http2Client, http2_client
from tests.helpers.http2_numbers import ENHANCE_YOUR_CALM, HEADER_TABLE_SIZE, PROTOCOL_ERROR
from tests.helpers.serving import Site, serving
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

UNREAD = [(b"x", b"~" * 70_000)]
BOMB = [(b"x-bomb", b"a" * 4000)] * 64  # one byte each but for the first, because it is in the table


class PlainEncoder(Encoder):
    """Without Huffman's code, which takes hpack seconds for a large value."""

    def encode(self, headers: Iterable[Any], huffman: bool = False) -> bytes:
        return super().encode(headers, huffman)


@asynccontextmanager
async def plain_client(site: Site, settings: dict[int, int] | None = None) -> AsyncIterator[Http2Client]:
    async with http2_client(site, settings) as client:
        client.h2.encoder = PlainEncoder()
        yield client


@pytest.mark.parametrize("table_bytes", [0, 100, 65_536])
async def test_a_head_that_no_engine_reads_is_answered(
    options: dict[str, Any], table_bytes: int
) -> None:  # RFC 6585 §5, RFC 9113 §4.3
    async with (
        serving(hello, **options, date_header=True) as site,
        plain_client(site, {HEADER_TABLE_SIZE: table_bytes}) as client,
    ):
        stream = await client.ask(fields=UNREAD)
        answer = await client.answer(stream)
        assert (answer.status, answer.body, answer.ended) == (431, b"", True)
        assert b"date" in dict(answer.fields)
        await client.until_end()
        assert client.goaways == [(stream, ENHANCE_YOUR_CALM)]


async def test_a_head_is_refused_before_all_of_it_has_come(options: dict[str, Any]) -> None:
    async with serving(hello, **options) as site, plain_client(site) as client:
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [(b":method", b"GET"), *UNREAD, (b"y", b"~" * 10_000)])
        head = client.h2.data_to_send()
        for at in range(0, 70_000, 1000):
            await client.stream.send_all(head[at : at + 1000])
            await settled()
        client.answers[stream] = Answer()
        assert (await client.answer(stream)).status == 431


async def test_what_was_asked_before_is_answered(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(int(scope["path"][1:]))
        await reply(send, b"whole")

    async with serving(app, **options, on_disconnect="notify") as site, plain_client(site) as client:
        begun = await client.ask("/3")
        await settled()
        together = client.h2.get_next_available_stream_id()
        head = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/0")]
        client.h2.send_headers(together, head, end_stream=True)
        unread = await client.ask(fields=UNREAD)
        await client.until_end()
        assert [client.answers[stream].body for stream in (begun, together)] == [b"whole"] * 2
        assert client.answers[unread].status == 431


async def test_a_broken_rule_before_it_is_what_ends_the_connection(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(hello, **options) as site, plain_client(site) as client:
        client.h2.send_headers(1, UNREAD)
        await client.stream.send_all(b"\0\0\1\0\0\0\0\0\0x" + client.h2.data_to_send())  # DATA on no stream
        await client.until_end()
        assert [code for _, code in client.goaways] == [PROTOCOL_ERROR]
        assert client.answers == {}
    assert caplog.text == ""


async def test_the_access_log_has_a_line_of_it(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trioserve.access")
    async with serving(hello, **options, access_log=True) as site, plain_client(site) as client:
        await client.get(fields=UNREAD)
    assert '"- - HTTP/2" 431' in caplog.text


async def test_trailers_that_no_engine_reads_end_the_connection(options: dict[str, Any]) -> None:
    async with serving(echo, **options) as site, plain_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        client.h2.send_headers(stream, UNREAD, end_stream=True)
        await client.say()
        await client.until_end()
        assert [code for _, code in client.goaways] == [ENHANCE_YOUR_CALM]


async def test_a_head_that_unpacks_to_a_multiple_of_the_limit_ends_the_connection(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(hello, **options) as site, plain_client(site) as client:
        await client.ask(fields=BOMB)
        await client.until_end()
        assert [code for _, code in client.goaways] == [ENHANCE_YOUR_CALM]
    assert caplog.text == ""


async def test_a_response_head_may_be_large(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        large = (b"x-large", b"1" * 100_000)
        await send({"type": "http.response.start", "status": 200, "headers": [large], "trailers": True})
        await part(send, b"whole", more=False)
        await send({"type": "http.response.trailers", "headers": [large]})

    async with serving(app, **options) as site, plain_client(site) as client:
        client.h2.decoder.max_header_list_size = 10_000_000
        answer = await client.get()
        assert (answer.status, answer.body, answer.ended) == (200, b"whole", True)
        assert [dict(fields)[b"x-large"] for fields in (answer.fields, answer.trailers)] == [b"1" * 100_000] * 2
