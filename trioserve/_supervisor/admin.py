"""What the supervisor's admin listener knows: its workers, each of which is asked (see ``questions``)."""

import os
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Final, Protocol

import anyio

from trioserve._admin.cancelling import GONE, CancelAnswer
from trioserve._admin.drawing import MOST_NODES, Drawing, Node
from trioserve._admin.handles import Handles
from trioserve._admin.history import MOST_ENTRIES
from trioserve._admin.tree import snapshot_of
from trioserve._admin.view import View
from trioserve._supervisor.questions import Silence, ask_all
from trioserve._supervisor.workers import Worker

__all__ = ["AllWorkers", "Watched"]

NOT_READY: Final = {"STARTING": "starting", "DRAINING": "draining"}


class Watched(Protocol):
    """A supervisor, as its admin listener sees it."""

    @property
    def phase(self) -> str:
        """``STARTING``, ``READY`` or ``DRAINING``."""

    @property
    def age(self) -> float:
        """Seconds."""

    def workers(self) -> Sequence[Worker]:
        """Every worker process that lives."""


class AllWorkers:
    """All processes as one ``Source``."""

    def __init__(self, supervisor: Watched) -> None:
        self._supervisor = supervisor
        self._handles = Handles()

    async def tree(self, view: View) -> dict[str, Any]:
        """The trees of all workers under one root. ``limit`` and ``offset`` hold for each of them."""
        workers = self._supervisor.workers()
        ready = [worker for worker in workers if worker.is_ready]
        details = {"view": view.as_json(), "most_nodes": MOST_NODES // max(1, len(ready))}
        answers = await ask_all(ready, "tree", details)
        began = perf_counter()
        drawing = Drawing(view, self._handles, anyio.current_time())
        root = drawing.node(
            self, "supervisor", "trioserve", state=self._supervisor.phase,
            detail=f"{len(workers)} {'worker' if len(workers) == 1 else 'workers'}, PID {os.getpid()}")
        root["age"] = round(self._supervisor.age, 3)
        root["children"] = [_worker_node(drawing, worker, answers.get(worker.pid)) for worker in workers]
        trees = [answer for answer in answers.values() if not isinstance(answer, Silence)]
        ended = sorted((entry for tree in trees for entry in tree["ended"]), key=lambda entry: entry["ago"])
        sentences = dict.fromkeys(sentence for tree in trees for sentence in tree["cannot_show"])
        took = max([tree["took"] for tree in trees], default=0.0) + perf_counter() - began
        return snapshot_of(root, view, ended[:MOST_ENTRIES], list(sentences), took=took)

    async def cancel(self, id: str) -> CancelAnswer:
        """Pass it on to the worker that has the node."""
        pid = id.partition("-")[0]
        worker = next((worker for worker in self._supervisor.workers() if str(worker.pid) == pid), None)
        if worker is None:
            return GONE
        answer: Mapping[str, Any] | Silence = await worker.asking.ask("cancel", {"id": id})
        if isinstance(answer, Silence):
            return CancelAnswer(503, {"error": f"worker {pid}: {answer.why}"})
        return CancelAnswer(answer["status"], answer["body"])

    def why_not_ready(self) -> str:
        return NOT_READY.get(self._supervisor.phase, "")


def _worker_node(drawing: Drawing, worker: Worker, answer: Mapping[str, Any] | Silence | None) -> Node:
    name = f"worker {worker.pid}"
    if answer is None:
        return drawing.node(worker, "server", name, state="STARTING")
    if isinstance(answer, Silence):
        return drawing.node(worker, "server", name, state="SILENT", detail=answer.why)
    return {**answer["root"], "name": name}
