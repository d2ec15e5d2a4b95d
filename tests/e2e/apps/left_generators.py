"""Begins async generators and leaves them, where a frame of Python's ends and where one begins. For all backends."""

import gc
from collections.abc import AsyncIterator
from typing import Any

ROUNDS = 50


async def numbers() -> AsyncIterator[int]:
    number = 0
    while True:
        yield number
        number += 1


class Cycle:
    """Only the garbage collector finds it."""

    def __init__(self, generator: AsyncIterator[int]) -> None:
        self.itself = self
        self.generator = generator


class Called:
    """An instance, so that C code makes the frame of the coroutine, in which Python 3.11 may collect garbage."""

    async def __call__(self) -> int:
        return await anext(numbers())


async def leave_at_the_end() -> None:
    generator = numbers()
    await anext(generator)


async def leave_to_the_collector() -> None:
    """Each cycle is found while the frame of a coroutine is made, or soon after."""
    threshold = gc.get_threshold()
    called = Called()
    try:
        for _ in range(ROUNDS):
            gc.set_threshold(0)
            generator = numbers()
            await anext(generator)
            Cycle(generator)
            del generator
            gc.set_threshold(1)
            await called()
    finally:
        gc.set_threshold(*threshold)


async def app(scope: Any, receive: Any, send: Any) -> None:
    left_by_app = numbers()
    await anext(left_by_app)
    if scope["path"] == "/end":
        await leave_at_the_end()
    else:
        await leave_to_the_collector()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"left"})
