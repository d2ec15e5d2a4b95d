"""What a worker answers when the supervisor asks. Imported with the first question."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from trioserve._admin.view import View
from trioserve._server import Server
from trioserve._supervisor.questions import Answerer

__all__ = ["answerers_of"]


def answerers_of(server: Server) -> Mapping[str, Answerer]:
    """By the names of questions."""
    process = server.look()

    async def tree(details: Mapping[str, Any]) -> Any:
        return await process.tree(View(**details["view"]), details["most_nodes"])

    async def cancel(details: Mapping[str, Any]) -> Any:
        return dataclasses.asdict(await process.cancel(details["id"]))

    return {"tree": tree, "cancel": cancel}
