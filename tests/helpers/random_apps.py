"""Applications that do what they should and should not, in random order. The same seed, the same order."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

import anyio
import anyio.abc
import anyio.lowlevel

from tests.helpers.apps import part, start
from trioserve._types import Message, Receive, Scope, Send
from trioserve.extensions import request_of

__all__ = ["SECONDS", "Plan", "PlannedApplication", "random_plan"]

SECONDS: Final = (0.0, 0.0, 0.2, 0.5, 1.0, 3.0)  # several waits may end at once

@dataclass
class Plan:
    """What is asked for, and what the application does: names of methods of ``Conversation``."""

    number: int
    method: str
    body: bytes
    is_chunked: bool
    has_length: bool
    parts: list[bytes]
    steps: list[str]
    calls: int = 0
    has_sent_all: bool = field(default=False)

    @property
    def whole(self) -> bytes:
        return b"".join(self.parts) if self.method != "HEAD" else b""

    @property
    def request(self) -> bytes:
        head = f"{self.method} /{self.number} HTTP/1.1\r\nhost: a\r\n".encode()
        if not self.is_chunked:
            return head + b"content-length: %d\r\n\r\n" % len(self.body) + self.body
        chunks = [self.body[at : at + 7000] for at in range(0, len(self.body), 7000)]
        coded = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b"")]
        return head + b"transfer-encoding: chunked\r\n\r\n" + b"".join(coded)


USUAL: Final = (
    "sleep", "sleep", "receive", "receive", "receive_for_a_moment", "receive_in_tasks", "listen", "give_way",
    "swallow_cancellation",
)  # fmt: skip
UNUSUAL: Final = (
    "fail", "fail_in_a_child", "return_now", "cancel_itself", "set_deadline", "shield", "raise_cancelled",
    "leave_a_task",
)  # fmt: skip


def random_plan(number: int, random: Random) -> Plan:
    parts = [b"%d.%d*" % (number, at) * random.choice((1, 1, 1, 100, 20_000)) for at in range(random.randint(1, 4))]
    steps = [*random_steps(3, random), "start", *random_steps(1, random)]
    for _ in parts:
        steps += [random.choice(("send_part", "send_part", "send_part_in_a_child")), *random_steps(1, random)]
    return Plan(
        number=number,
        method=random.choice(("GET", "POST", "POST", "HEAD")),
        body=random.choice((b"", b"", b"body", b"x" * 10_000, b"y" * 300_000)),
        is_chunked=random.random() < 0.3,
        has_length=random.random() < 0.5,
        parts=parts,
        steps=[*steps, *random_steps(4, random)],
    )


def random_steps(most: int, random: Random) -> list[str]:
    return [random.choice(USUAL if random.random() < 0.93 else UNUSUAL) for _ in range(random.randint(0, most))]


class Over(Exception):
    """The application returns."""


class Conversation:
    """An application's side of one request."""

    def __init__(
        self, plan: Plan, scope: Scope, receive: Receive, send: Send, children: anyio.abc.TaskGroup,
        outside: anyio.abc.TaskGroup,
    ) -> None:  # fmt: skip
        self._plan = plan
        self._random = Random(plan.number)
        self._request = request_of(scope)
        self._receive = receive
        self._send = send
        self._children = children
        self._outside = outside
        self._parts = iter(enumerate(plan.parts, 1))

    async def run(self) -> None:
        for step in self._plan.steps:
            await getattr(self, step)()

    # Messages.

    async def start(self) -> None:
        size = sum(map(len, self._plan.parts))
        length = [(b"content-length", b"%d" % size)] if self._plan.has_length else []
        await start(self._send, headers=[(b"x-number", b"%d" % self._plan.number), *length])

    async def send_part(self) -> None:
        number, data = next(self._parts)
        await part(self._send, data, more=number < len(self._plan.parts))
        self._plan.has_sent_all = number == len(self._plan.parts)

    async def send_part_in_a_child(self) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(self.send_part)

    async def receive(self) -> None:
        with anyio.move_on_after(5):
            await self._receive()

    async def _receive_one(self) -> None:
        await self._receive()

    async def receive_for_a_moment(self) -> None:
        with anyio.move_on_after(self._random.choice((0.0, 0.3))):
            await self._receive()

    async def receive_in_tasks(self) -> None:
        with anyio.move_on_after(0.5):
            async with anyio.create_task_group() as children:
                for _ in range(3):
                    children.start_soon(self._receive_one)

    async def listen(self) -> None:
        self._children.start_soon(self._receive_until_the_end)

    async def _receive_until_the_end(self) -> None:
        message: Message = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await self._receive()

    # Waits.

    async def sleep(self) -> None:
        await anyio.sleep(self._random.choice(SECONDS))

    async def give_way(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def swallow_cancellation(self) -> None:
        with suppress(anyio.get_cancelled_exc_class()):
            await self.sleep()

    async def shield(self) -> None:
        with self._request.shielded():
            await self.sleep()

    # Ends.

    async def return_now(self) -> None:
        raise Over

    async def fail(self) -> None:
        raise ValueError("as planned")

    async def fail_in_a_child(self) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(self.fail)
            await self.sleep()

    async def raise_cancelled(self) -> None:
        """What nobody has asked for; trio lets nobody make one."""
        if anyio.get_cancelled_exc_class() is asyncio.CancelledError:
            raise asyncio.CancelledError

    async def cancel_itself(self) -> None:
        self._request.cancel("as planned")

    async def set_deadline(self) -> None:
        self._request.deadline = anyio.current_time() + self._random.choice((0.0, 0.4))

    async def leave_a_task(self) -> None:
        """Which may outlive the request, and is not cancelled with it."""
        self._outside.start_soon(self._receive_one)



class PlannedApplication:
    """Does what the plan of the request says; at ``/fine`` it answers."""

    def __init__(self, plans: list[Plan], outside: anyio.abc.TaskGroup) -> None:
        self._plans = plans
        self._outside = outside
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fine":
            await start(send, headers=[(b"content-length", b"4")])
            await part(send, b"fine", more=False)
            return
        plan = self._plans[int(scope["path"][1:])]
        plan.calls += 1
        self.running += 1
        try:
            async with anyio.create_task_group() as children:
                with suppress(Over):
                    await Conversation(plan, scope, receive, send, children, self._outside).run()
                children.cancel_scope.cancel()
        finally:
            self.running -= 1
