"""Work after the response takes no slot, and is neither in the access line nor in the request's timeout."""

import logging
from collections.abc import Callable

import anyio
import pytest

from tests.helpers.after_response import WORK_SECONDS, Worker, fetch
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, status_of
from trioserve.testing import seconds_passed, settled


async def test_the_slot_is_free_once_the_response_is_complete() -> None:
    app = Worker()
    async with serving(app, limit_concurrency=1) as site:
        client = site.connect()
        with seconds_passed() as elapsed:
            for _ in range(3):
                assert await fetch(client, get("/a")) == [ok(b"/a")]
                assert await fetch(site.connect(), get("/quick")) == [ok(b"/quick")]
        assert elapsed.seconds == 0
        await anyio.sleep(WORK_SECONDS)
        assert site.connections == 4
        # And it was given back once: with one slot, of two requests one waits.
        with seconds_passed() as elapsed:
            await site.connect().send_all(get("/slow"))
            await settled()
            assert status_of(await site.answer_to(get("/quick"))) == 503
        assert elapsed.seconds == 1.0


async def test_the_access_line_ends_with_the_response(caplog: pytest.LogCaptureFixture) -> None:
    app = Worker(seconds=3600)
    caplog.set_level(logging.INFO, "trioserve.access")
    async with serving(app, access_log=True) as site:
        await fetch(site.connect(), get("/a"))
        await settled()
        [record] = [record for record in caplog.records if record.name == "trioserve.access"]
        assert record.getMessage().find('"GET /a HTTP/1.1" 200') > 0
        assert app.working == 1
        await anyio.sleep(7200)
    assert len([record for record in caplog.records if record.name == "trioserve.access"]) == 1


async def test_the_request_timeout_does_not_count_work(stopping_log: Callable[[], list[str]]) -> None:
    app = Worker(seconds=60)
    async with serving(app, timeout_request=5) as site:
        await fetch(site.connect(), get("/a"))
        await anyio.sleep(100)
    assert app.ends == [("/a", "done")]
