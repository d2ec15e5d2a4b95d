"""All workers as the supervisor knows them: for its own admin listener, and for workers that have it under a path."""

from collections.abc import Mapping
from typing import Any

from trioserve._admin.cancelling import CancelAnswer
from trioserve._admin.guard import new_token
from trioserve._admin.metrics.page import Measured
from trioserve._admin.metrics.samples import from_json, to_json
from trioserve._admin.metrics.worker_tally import WorkerTally
from trioserve._admin.view import View
from trioserve._supervisor.admin import AllWorkers, Watched
from trioserve._supervisor.metrics import WorkerMetrics
from trioserve._supervisor.questions import ANSWER_SECONDS, Answerer, Asking, Silence

__all__ = ["AskedOverview", "Overview"]


class Overview:
    """Of one supervisor.

    Attributes:
        workers: as the ``Source`` of a page.
        metrics: of all of them.
        token: what a request that changes something has to have, whichever process it comes to.
    """

    def __init__(self, supervisor: Watched, worker_tally: WorkerTally) -> None:
        self.workers = AllWorkers(supervisor)
        self.metrics = WorkerMetrics(supervisor, worker_tally)
        self.token = new_token()

    def answerers(self) -> Mapping[str, Answerer]:
        """What a worker may ask, by the names of questions."""
        return {"tree": self._tree, "cancel": self._cancel, "metrics": self._measure}

    async def _tree(self, details: Mapping[str, Any]) -> Any:
        return await self.workers.tree(View(**details["view"]))

    async def _cancel(self, details: Mapping[str, Any]) -> Any:
        answer = await self.workers.cancel(details["id"])
        return {"status": answer.status, "body": answer.body}

    async def _measure(self, details: Mapping[str, Any]) -> Any:
        measured = await self.metrics.measure()
        return {"snapshot": to_json(measured.snapshot), "pids": list(measured.pids)}


class AskedOverview:
    """The overview as a worker has it: by asking the supervisor, which asks all workers and this one, too."""

    def __init__(self, supervisor: Asking, token: str) -> None:
        self._supervisor = supervisor
        self.token = token

    async def tree(self, view: View) -> dict[str, Any] | None:
        """A snapshot; ``None`` when the supervisor does not answer."""
        answer = await self._ask("tree", {"view": view.as_json()})
        return None if isinstance(answer, Silence) else answer

    async def cancel(self, id: str) -> CancelAnswer:
        answer = await self._ask("cancel", {"id": id})
        if isinstance(answer, Silence):
            return CancelAnswer(503, {"error": f"the supervisor: {answer.why}"})
        return CancelAnswer(answer["status"], answer["body"])

    async def measure(self) -> Measured | None:
        """The numbers of all workers together; ``None`` when the supervisor does not answer."""
        answer = await self._ask("metrics", {})
        return None if isinstance(answer, Silence) else Measured(from_json(answer["snapshot"]), answer["pids"])

    async def _ask(self, name: str, details: Mapping[str, Any]) -> Any:
        """It may have to wait for workers that do not answer."""
        return await self._supervisor.ask(name, details, within=2 * ANSWER_SECONDS)
