"""Questions of the supervisor to its workers, over the real socket."""

import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from trioserve._supervisor.control import Link, Question, Reply
from trioserve._supervisor.questions import LARGEST_ANSWER, Asking, Silence, ask_all, reply_to

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]


@dataclass
class Played:
    """A worker whose answers the test plays."""

    pid: int
    link: Link
    far: Link
    asking: Asking

    async def listen(self) -> None:
        """As the supervisor does."""
        while messages := await self.link.receive():
            for message in messages:
                assert isinstance(message, Reply)
                self.asking.hear(message)

    async def answer(self) -> None:
        """As a worker does."""
        async def echo(details: Mapping[str, Any]) -> Any:
            return {"echo": details}

        async def large(details: Mapping[str, Any]) -> Any:
            return "x" * details["size"]

        async def broken(details: Mapping[str, Any]) -> Any:
            raise ValueError("a bug")

        async with anyio.create_task_group() as answering:
            while messages := await self.far.receive():
                for message in messages:
                    assert isinstance(message, Question)
                    answering.start_soon(
                        reply_to, message, {"echo": echo, "large": large, "broken": broken}, self.far)


@pytest.fixture
def played() -> Iterator[list[Played]]:
    workers = []
    for pid in (1, 2):
        link, far = map(Link, socket.socketpair())
        workers.append(Played(pid, link, far, Asking(link)))
    yield workers
    for worker in workers:
        worker.link.close()
        worker.far.close()


@asynccontextmanager
async def running(*functions: Any) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        for function in functions:
            tasks.start_soon(function)
        yield
        tasks.cancel_scope.cancel()


async def test_each_answers_for_itself(played: list[Played]) -> None:
    first, second = played
    async with running(first.listen, first.answer, second.listen, second.answer):
        answers = await ask_all(played, "echo", {"a": 1})
    assert answers == {1: {"echo": {"a": 1}}, 2: {"echo": {"a": 1}}}


async def test_several_questions_at_once_get_their_own_answers(played: list[Played]) -> None:
    first, _ = played
    found: dict[int, Any] = {}

    async def ask(number: int) -> None:
        found[number] = await first.asking.ask("echo", {"number": number})

    async with running(first.listen, first.answer), anyio.create_task_group() as asking:
        for number in range(20):
            asking.start_soon(ask, number)
    assert found == {number: {"echo": {"number": number}} for number in range(20)}


async def test_an_answer_may_be_larger_than_the_sockets_buffer(played: list[Played]) -> None:
    first, _ = played
    size = 3 * 1024 * 1024
    async with running(first.listen, first.answer):
        answer = await first.asking.ask("large", {"size": size}, within=30)
        assert answer == "x" * size
        assert await first.asking.ask("echo", {}) == {"echo": {}}


async def test_an_answer_that_is_too_large_is_not_sent(played: list[Played]) -> None:
    first, _ = played
    async with running(first.listen, first.answer):
        answer = await first.asking.ask("large", {"size": LARGEST_ANSWER}, within=30)
    assert isinstance(answer, Silence) and "is too large" in answer.why


async def test_who_does_not_answer_is_named_and_holds_nobody_up(played: list[Played]) -> None:
    first, second = played
    async with running(first.listen, first.answer, second.listen):
        answers = await ask_all(played, "echo", {})
        assert answers == {1: {"echo": {}}, 2: Silence("it did not answer within 2 s")}
        second.asking.hear(Reply(1, "too late"))  # nobody waits for it


async def test_who_ends_meanwhile(played: list[Played]) -> None:
    first, _ = played
    async with running(first.listen), anyio.create_task_group() as asking:
        found: list[Any] = []

        async def ask() -> None:
            found.append(await first.asking.ask("echo", {}, within=30))

        asking.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        first.asking.give_up()
    assert found == [Silence("it has ended")]


async def test_a_question_that_it_does_not_know(played: list[Played]) -> None:
    first, _ = played
    async with running(first.listen, first.answer):
        answer = await first.asking.ask("weather", {})
    assert answer == Silence("it cannot answer 'weather'")


async def test_a_bug_in_an_answer_ends_nothing(played: list[Played], caplog: pytest.LogCaptureFixture) -> None:
    first, _ = played
    async with running(first.listen, first.answer):
        assert await first.asking.ask("broken", {}) == Silence("it could not answer: see its log")
        assert await first.asking.ask("echo", {}) == {"echo": {}}
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "Internal error when another process asked for broken"]
