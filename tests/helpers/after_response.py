"""An application that works on after its response."""

import anyio

from tests.helpers.apps import reply
from tests.helpers.transcripts import receive_response
from trioserve._streams.memory import MemoryClient
from trioserve._types import Receive, Scope, Send

__all__ = ["WORK_SECONDS", "Worker", "fetch"]

WORK_SECONDS = 3.0


class Worker:
    """Answers with the path and works on, in several steps if the path says so; notes when work ends and how.

    ``/quick`` has no work, ``/slow`` waits as long before its answer.
    """

    def __init__(self, seconds: float = WORK_SECONDS, steps: int = 1) -> None:
        self.seconds = seconds
        self.steps = steps
        self.working = 0
        self.ends: list[tuple[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/slow":
            await anyio.sleep(self.seconds)
        await reply(send, path.encode())
        if path in ("/quick", "/slow"):
            return
        self.working += 1
        how = "cancelled"
        try:
            for _ in range(self.steps):
                await anyio.sleep(self.seconds / self.steps)
            how = "done"
        finally:
            self.working -= 1
            self.ends.append((path, how))


async def fetch(client: MemoryClient, *requests: bytes) -> list[bytes]:
    await client.send_all(b"".join(requests))
    return [await receive_response(client) for _ in requests]
