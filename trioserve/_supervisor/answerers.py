"""What a worker answers when the supervisor asks, and what it says at last. For servers that somebody looks at."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from trioserve._admin.metrics.samples import to_json
from trioserve._admin.view import View
from trioserve._server import Server
from trioserve._supervisor.control import LastWords
from trioserve._supervisor.questions import Answerer

__all__ = ["answerers_of", "last_words_of"]


def answerers_of(server: Server) -> Mapping[str, Answerer]:
    """By the names of questions."""
    process = server.look()

    async def tree(details: Mapping[str, Any]) -> Any:
        return await process.tree(View(**details["view"]), details["most_nodes"])

    async def cancel(details: Mapping[str, Any]) -> Any:
        return dataclasses.asdict(await process.cancel(details["id"]))

    async def metrics(details: Mapping[str, Any]) -> Any:
        return to_json(server.measure())

    return {"tree": tree, "cancel": cancel, "metrics": metrics}


def last_words_of(server: Server) -> LastWords:
    """Its requests have ended, and their numbers shall not be lost."""
    return LastWords(to_json(server.measure()))
