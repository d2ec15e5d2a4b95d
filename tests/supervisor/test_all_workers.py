"""The trees of several workers under one root: workers that answer, start, or are silent."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest

from tests.helpers.admin import VALIDATOR
from trioserve._admin.view import View
from trioserve._supervisor.admin import AllWorkers
from trioserve._supervisor.control import Link, Question, Reply
from trioserve._supervisor.questions import Asking
from trioserve._supervisor.workers import Worker

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]


class Played:
    """A worker: ``answers`` are by the names of questions, and it is silent about others."""

    def __init__(self, pid: int, *, is_ready: bool = True, **answers: Any) -> None:
        near, far = socket.socketpair()
        self.pid = pid
        self.is_ready = is_ready
        self.link, self.far = Link(near), Link(far)
        self.asking = Asking(self.link)
        self.answers = answers
        self.asked: list[dict[str, Any]] = []

    async def hear(self) -> None:
        while messages := await self.link.receive():
            for message in messages:
                assert isinstance(message, Reply)
                self.asking.hear(message)

    async def answer(self) -> None:
        while messages := await self.far.receive():
            for message in messages:
                assert isinstance(message, Question)
                self.asked.append(message.details)
                if message.name in self.answers:
                    self.far.send(Reply(message.number, self.answers[message.name]))


class PlayedSupervisor:
    age = 93.0

    def __init__(self, *workers: Played, phase: str = "READY") -> None:
        self.phase = phase
        self._workers = workers

    def workers(self) -> list[Worker]:
        return cast("list[Worker]", list(self._workers))


@asynccontextmanager
async def watching(*workers: Played, phase: str = "READY") -> AsyncIterator[AllWorkers]:
    async with anyio.create_task_group() as tasks:
        for worker in workers:
            tasks.start_soon(worker.hear)
            tasks.start_soon(worker.answer)
        yield AllWorkers(PlayedSupervisor(*workers, phase=phase))
        tasks.cancel_scope.cancel()
    for worker in workers:
        worker.link.close()
        worker.far.close()


def tree_of(pid: int, ago: float) -> dict[str, Any]:
    entry = {"kind": "request", "name": f"GET /{pid}", "pid": pid, "client": "a:1", "version": "1.1", "status": 200,
             "seconds": 0.1, "ago": ago, "sent": 2}
    root = {"id": f"{pid}-1", "kind": "server", "name": "trioserve", "state": "READY"}
    return {"took": pid / 1000, "root": root, "ended": [entry], "cannot_show": ["a sentence"]}


async def test_all_that_there_is() -> None:
    workers = [
        Played(11, tree=tree_of(11, 3.0)), Played(12, tree=tree_of(12, 1.0)), Played(13, is_ready=False), Played(14)]
    async with watching(*workers) as source:
        snapshot = await source.tree(View(limit=7, filter="x"))
        again = await source.tree(View())
    VALIDATOR.validate(snapshot)
    root = snapshot["root"]
    assert (root["kind"], root["state"], root["age"]) == ("supervisor", "READY", 93.0)
    assert root["detail"].startswith("4 workers, PID ")
    assert [(child["name"], child["state"], child.get("detail", "")) for child in root["children"]] == [
        ("worker 11", "READY", ""), ("worker 12", "READY", ""), ("worker 13", "STARTING", ""),
        ("worker 14", "SILENT", "it did not answer within 2 s")]
    assert [entry["pid"] for entry in snapshot["ended"]] == [12, 11]
    assert snapshot["cannot_show"] == ["a sentence"]
    assert 0.012 <= snapshot["took"] < 1  # without the two seconds for who does not answer
    assert [child["id"] for child in again["root"]["children"]] == [child["id"] for child in root["children"]]
    assert workers[0].asked[0] == {
        "view": {"limit": 7, "offset": 0, "filter": "x", "stack": ""}, "most_nodes": 2000 // 3}
    assert workers[2].asked == []


async def test_a_cancel_goes_to_the_worker_that_has_the_node() -> None:
    done = {"status": 200, "body": {"id": "12-5", "kind": "request", "name": "GET /"}}
    workers = [Played(11, cancel={"status": 404, "body": {}}), Played(12, cancel=done), Played(14)]
    async with watching(*workers) as source:
        answer = await source.cancel("12-5")
        silent = await source.cancel("14-5")
        gone = [(await source.cancel(id)).status for id in ("1-1", "", "1", "-", "x-y")]
    assert (answer.status, answer.body) == (done["status"], done["body"])
    assert (silent.status, silent.body) == (503, {"error": "worker 14: it did not answer within 2 s"})
    assert gone == [404] * 5
    assert (workers[0].asked, workers[1].asked) == ([], [{"id": "12-5"}])


@pytest.mark.parametrize(("phase", "why"), [("STARTING", "starting"), ("READY", ""), ("DRAINING", "draining")])
async def test_readiness_is_the_supervisors(phase: str, why: str) -> None:
    async with watching(phase=phase) as source:
        assert source.why_not_ready() == why
        assert (await source.tree(View()))["root"]["children"] == []
