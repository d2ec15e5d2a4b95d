"""Answers that begin while the request's body is still coming, and what becomes of the connection (RFC 9112 §9.3)."""

import re

import pytest

from tests.helpers.serving import serving
from tests.helpers.transcripts import post, receive_response, status_of
from trioserve._connection.request_body import SKIP_BYTES
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


async def count_in_parts(scope: Scope, receive: Receive, send: Send) -> None:
    """Says how much has come each time that something has."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        await send({"type": "http.response.body", "body": b"%d;" % len(message["body"]), "more_body": more})


async def test_an_application_that_answers_while_it_reads_keeps_the_connection() -> None:
    half = b"x" * (SKIP_BYTES + 1)
    async with serving(count_in_parts) as site:
        client = site.connect()
        for _ in range(2):
            await client.send_all(post(length=2 * len(half)) + half)
            await settled()
            await client.send_all(half)
            response = await receive_response(client)
            assert status_of(response) == 200
            assert b"connection: close" not in response
            assert sum(map(int, re.findall(rb"(\d+);", response))) == 2 * len(half)


@pytest.mark.parametrize(("path", "fields"), [("/413", ()), ("/200", ("expect: 100-continue",))])
async def test_an_error_or_an_expectation_ends_it_all_the_same(path: str, fields: tuple[str, ...]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": int(scope["path"][1:]), "headers": []})
        await send({"type": "http.response.body", "body": b"no", "more_body": True})
        await send({"type": "http.response.body"})

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"", *fields, target=path, length=100_000_000))
        assert b"connection: close" in await client.receive_rest()


async def test_a_streamed_success_that_reads_nothing_ends_the_connection_in_the_end() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"yes", "more_body": True})
        await send({"type": "http.response.body"})

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(length=100_000_000) + b"x" * (SKIP_BYTES + 1))
        response = await client.receive_rest()
        assert (status_of(response), b"yes" in response) == (200, True)
