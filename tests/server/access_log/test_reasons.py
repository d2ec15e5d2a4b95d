"""The reason in an access line, for every way to end a request before its time."""

from typing import Any

import anyio
import pytest

from tests.helpers.access_lines import BatchHandler, logged
from tests.helpers.apps import part, read_body, start
from tests.helpers.transcripts import get, post
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import settled

REASON = "%(s)s %(st)s; %(reason)s"


async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    await read_body(receive)


async def flooding(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    while True:
        await part(send, b"x" * 10_000)


@pytest.mark.parametrize(("app", "request_", "options", "line"), [
    (stuck, get(), {"timeout_request": 5}, "504 Gateway Timeout; request-timeout"),
    (reading, post(b"", length=5), {}, "408 Request Timeout; body-timeout"),
    (flooding, get(), {}, "200 OK; write-timeout"),
])
async def test_a_timeout_is_the_reason(
    batches: BatchHandler, app: App, request_: bytes, options: dict[str, Any], line: str
) -> None:
    async with logged(app, batches, access_log_format=REASON, **options) as site:
        client = site.connect()
        await client.send_all(request_)
        await anyio.sleep(100)
    assert batches.lines == [line]


async def test_a_client_that_left_is_the_reason(batches: BatchHandler) -> None:
    async with logged(stuck, batches, access_log_format=REASON, on_disconnect="cancel") as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(1)
        client.abort()
        await settled()
    assert batches.lines == ["499 Client Closed Request; client-disconnect"]


async def test_a_shutdown_is_not_the_clients_doing(batches: BatchHandler) -> None:
    async with logged(stuck, batches, access_log_format=REASON) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        site.server.force_shutdown()
    assert batches.lines == ["0 shutdown-deadline; shutdown-deadline"]


async def test_a_request_that_is_turned_away_has_its_line(batches: BatchHandler) -> None:
    async with logged(stuck, batches, access_log_format="%(m)s %(U)s %(s)s", limit_concurrency=1) as site:
        first = site.connect()
        await first.send_all(get("/first"))
        await settled()
        assert b" 503 " in await site.everything_after(get("/second"))
        await anyio.sleep(1)
        assert batches.lines == ["GET /second 503"]
