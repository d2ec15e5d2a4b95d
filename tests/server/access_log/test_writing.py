"""When access lines are written: together, soon, and none is lost."""

import anyio

from tests.helpers.access_lines import BatchHandler, logged
from tests.helpers.apps import hello, reply
from tests.helpers.transcripts import get
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


async def test_lines_of_one_moment_are_written_together(batches: BatchHandler) -> None:
    async with logged(hello, batches) as site:
        for _ in range(10):
            await site.answer_to(get())
        await anyio.sleep(1)
        assert [len(batch) for batch in batches.batches] == [10]


async def test_a_line_is_written_within_a_moment(batches: BatchHandler) -> None:
    async with logged(hello, batches) as site:
        for count in range(1, 4):
            await site.answer_to(get())
            await anyio.sleep(0.2)
            assert len(batches.lines) == count


async def test_nothing_is_lost_when_the_server_ends_at_once(batches: BatchHandler) -> None:
    async with logged(hello, batches) as site:
        for _ in range(10):
            await site.answer_to(get())
        site.server.force_shutdown()
    assert len(batches.lines) == 10


async def test_requests_of_the_drain_are_logged(batches: BatchHandler) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(5)
        await reply(send)

    async with logged(app, batches) as site:
        client = site.connect()
        await client.send_all(get("/last"))
        await settled()
        site.server.request_shutdown("test")
        await client.receive_rest()
    assert len(batches.lines) == 1


async def test_requests_cancelled_at_the_deadline_are_logged(batches: BatchHandler) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    async with logged(app, batches) as site:
        client = site.connect()
        await client.send_all(get("/last"))
        await settled()
        site.server.force_shutdown()
    assert len(batches.lines) == 1
