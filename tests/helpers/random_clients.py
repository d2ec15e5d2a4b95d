"""A client of HTTP/1.1 that sends, waits and leaves as it likes. The same seed, the same bytes."""

import re
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final

import anyio

from tests.helpers.random_apps import SECONDS, Plan
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryClient

__all__ = ["Answer", "RandomClient", "answers_in"]

MANNERS: Final = ("patient",) * 4 + ("finishes", "leaves", "breaks off", "does not read", "talks nonsense")
NONSENSE: Final = (
    b"\0\0\0", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)  # fmt: skip

class RandomClient:
    """Sends requests as it likes, and keeps what it receives.

    Attributes:
        manner: one of ``MANNERS``.
        is_slow: it reads so slowly that a server which closes, and is sent more, takes from it what it has not read.
    """

    def __init__(self, stream: MemoryClient, plans: list[Plan], random: Random) -> None:
        self.manner = random.choice(MANNERS)
        self.received = b""
        self.plans = plans
        self._stream = stream
        self._random = random
        self._requests = len(plans) if self.manner == "patient" else random.randint(0, len(plans))
        self.is_slow = random.random() < 0.2
        self._pipelines = random.random() < 0.5

    async def run(self) -> None:
        async with anyio.create_task_group() as reading:
            if self.manner != "does not read":
                reading.start_soon(self._read)
            with suppress(ClientDisconnected):
                for plan in self.plans[: self._requests]:
                    await self._ask(plan.request)
                await self._leave(reading.cancel_scope)
        await self._stream.aclose()

    async def _ask(self, request: bytes) -> None:
        pieces = self._random.choice((1, 1, 1, 3))
        size = -(-len(request) // pieces)
        for at in range(0, len(request), size):
            with anyio.move_on_after(20):
                await self._stream.send_all(request[at : at + size])
            if pieces > 1:
                await anyio.sleep(self._random.choice(SECONDS))
        if not self._pipelines:
            await anyio.sleep(self._random.choice((0.0, 0.1, 1.0, 4.0)))

    async def _leave(self, reading: anyio.CancelScope) -> None:
        if self.manner == "finishes":
            self._stream.send_eof()
        elif self.manner == "talks nonsense":
            await self._stream.send_all(self._random.choice(NONSENSE))
        elif self.manner != "patient":
            await anyio.sleep(self._random.choice(SECONDS))
            if self.manner == "leaves":
                await self._stream.aclose()
            else:
                self._stream.abort()
            reading.cancel()

    async def _read(self) -> None:
        with suppress(ClientDisconnected):
            while data := await self._stream.receive_some(self._random.choice((1000, 65536))):
                self.received += data
                if self.is_slow:
                    await anyio.sleep(0.1)


@dataclass
class Answer:
    """Of an application, as a client sees it."""

    number: int
    body: bytes
    is_whole: bool


def answers_in(received: bytes, plans: list[Plan]) -> list[Answer]:
    """Those of applications; one of the server's own is the last."""
    answers: list[Answer] = []
    while received:
        assert received.startswith(b"HTTP/1.1 "), received
        head, _, received = received.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100 "):
            continue
        number = re.search(rb"\r\nx-number: (\d+)", head)
        if number is None:
            break
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        if plans[int(number[1])].method == "HEAD":
            body, is_whole = b"", True
        elif length is not None:
            size = int(length[1])
            body, received, is_whole = received[:size], received[size:], len(received) >= size
        else:
            assert b"\r\ntransfer-encoding: chunked" in head
            body, received, is_whole = unchunked(received)
        answers.append(Answer(int(number[1]), body, is_whole))
        assert is_whole or not received
    return answers


def unchunked(coded: bytes) -> tuple[bytes, bytes, bool]:
    """A body, what follows it, and whether it has come to its end."""
    body = b""
    while True:
        size, _, rest = coded.partition(b"\r\n")
        end = int(size or b"0", 16)
        if not size or len(rest) < end + 2:
            return body, b"", False
        body, coded = body + rest[:end], rest[end + 2 :]
        if not end:
            return body, coded, True
