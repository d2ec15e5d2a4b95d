"""All workers, as a worker shows them that asks the supervisor."""

import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.helpers.admin import SHOWN
from tests.helpers.apps import hello
from tests.helpers.serving import serving
from tests.supervisor.test_all_workers import Played, PlayedSupervisor, tree_of
from trioserve._admin.metrics.samples import Sample, to_json
from trioserve._admin.metrics.worker_tally import WorkerTally
from trioserve._admin.view import View
from trioserve._server.admin import ALONE, OneOfMany
from trioserve._supervisor.control import Link, Question, Reply
from trioserve._supervisor.overview import AskedOverview, Overview
from trioserve._supervisor.questions import NO_ANSWERS, Answerer, Asking

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]


async def hear(link: Link, asking: Asking) -> None:
    """One end: questions are answered, replies go to who has asked."""
    async with anyio.create_task_group() as answering:
        while messages := await link.receive():
            for message in messages:
                if isinstance(message, Question):
                    answering.start_soon(asking.answer, message)
                else:
                    assert isinstance(message, Reply)
                    asking.hear(message)


@asynccontextmanager
async def asked(answerers: Mapping[str, Answerer], *workers: Played) -> AsyncIterator[AskedOverview]:
    near, far = map(Link, socket.socketpair())
    supervisors_end, workers_end = Asking(near, answerers), Asking(far)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hear, near, supervisors_end)
        tasks.start_soon(hear, far, workers_end)
        for worker in workers:
            tasks.start_soon(worker.hear)
            tasks.start_soon(worker.answer)
        yield AskedOverview(workers_end, "a token")
        tasks.cancel_scope.cancel()
    for link in (near, far, *(link for worker in workers for link in (worker.link, worker.far))):
        link.close()


async def test_a_worker_shows_what_the_supervisor_knows() -> None:
    numbers = to_json({"trioserve_requests_total": [Sample(("GET", "2xx", "1.1"), [5.0])]})
    done = {"status": 200, "body": {"id": "12-5", "kind": "request", "name": "GET /"}}
    workers = [Played(11, tree=tree_of(11, 3.0), metrics=numbers),
               Played(12, tree=tree_of(12, 1.0), metrics=numbers, cancel=done)]
    overview = Overview(PlayedSupervisor(*workers), WorkerTally())
    async with asked(overview.answerers(), *workers) as whole:
        tree = await whole.tree(View(limit=7))
        cancelled = await whole.cancel("12-5")
        gone = await whole.cancel("1-1")
        measured = await whole.measure()
    assert tree is not None and measured is not None
    assert [child["name"] for child in tree["root"]["children"]] == ["worker 11", "worker 12"]
    assert tree["view"]["limit"] == workers[0].asked[0]["view"]["limit"] == 7
    assert (cancelled.status, cancelled.body, gone.status) == (200, done["body"], 404)
    assert measured.snapshot["trioserve_requests_total"] == [Sample(("GET", "2xx", "1.1"), [10.0])]
    assert set(measured.pids) == {os.getpid(), 11, 12}


async def test_a_worker_shows_itself_when_the_supervisor_does_not_answer() -> None:
    async with asked(NO_ANSWERS) as whole, serving(hello, **SHOWN) as site:
        source = OneOfMany(whole, site.server.look())
        tree: dict[str, Any] = await source.tree(View())
        cancelled = await source.cancel("12-5")
        assert await whole.measure() is None
        assert source.why_not_ready() == ""
    assert (tree["root"]["kind"], tree["cannot_show"][-1]) == ("server", ALONE)
    assert (cancelled.status, cancelled.body) == (503, {"error": "the supervisor: it cannot answer 'cancel'"})
