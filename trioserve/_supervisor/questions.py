"""A question to workers, and their answers in JSON: what the supervisor's admin listener knows of them.

Questions have a name (``tree``, ``cancel`` ...) and a JSON object of details. A worker answers from its event loop.
Whoever does not answer in time, or would say too much, is named by its process id in the place of an answer. A worker
that shows all of them asks the supervisor in the same way.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol, TypeAlias

import anyio

from trioserve._complaints import complain
from trioserve._supervisor.control import Link, Question, Reply

__all__ = ["ANSWER_SECONDS", "NO_ANSWERS", "Answerer", "Answers", "Asking", "Silence", "ask_all", "reply_to"]

ANSWER_SECONDS: Final = 2.0  # a worker whose event loop stands still for longer is shown as silent
LARGEST_ANSWER: Final = 4 * 1024 * 1024  # bytes; a tree of 2,000 nodes has a tenth of it

Answerer: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Takes the details of a question; returns what JSON can say."""

NO_ANSWERS: Final[Mapping[str, Answerer]] = {}

log = logging.getLogger("trioserve")


@dataclass(frozen=True, slots=True)
class Silence:
    """In the place of an answer: why there is none."""

    why: str


class Asking:
    """Questions to the process at the other end of ``link`` that have no answer yet, and the answers to its own."""

    def __init__(self, link: Link, answerers: Mapping[str, Answerer] = NO_ANSWERS) -> None:
        self._link = link
        self._answerers = answerers
        self._numbers = count(1)
        self._waiting: dict[int, _Waiting] = {}

    async def ask(self, name: str, details: Mapping[str, Any], within: float = ANSWER_SECONDS) -> Any:
        """The answer, or a ``Silence``."""
        number = next(self._numbers)
        waiting = self._waiting[number] = _Waiting()
        try:
            self._link.send(Question(number, name, dict(details)))
            with anyio.move_on_after(within):
                await waiting.heard.wait()
        finally:
            del self._waiting[number]
        if waiting.reply is None:
            return Silence(f"it did not answer within {within:g} s")
        return Silence(waiting.reply.failure) if waiting.reply.failure else waiting.reply.answer

    def hear(self, reply: Reply) -> None:
        """The other process has answered; perhaps nobody waits for it any more."""
        if (waiting := self._waiting.get(reply.number)) is not None:
            waiting.reply = reply
            waiting.heard.set()

    async def answer(self, question: Question) -> None:
        """The other process has asked."""
        await reply_to(question, self._answerers, self._link)

    def give_up(self) -> None:
        """The other process has ended."""
        for number, waiting in self._waiting.items():
            waiting.reply = Reply(number, failure="it has ended")
            waiting.heard.set()


class _Waiting:
    """For one answer."""

    def __init__(self) -> None:
        self.heard = anyio.Event()
        self.reply: Reply | None = None


class Asked(Protocol):
    """A worker that can be asked."""

    @property
    def pid(self) -> int: ...
    @property
    def asking(self) -> Asking: ...


Answers: TypeAlias = dict[int, Any]
"""What each worker has answered, or a ``Silence``, by its process id, in the order in which they were given."""


async def ask_all(workers: Iterable[Asked], name: str, details: Mapping[str, Any]) -> Answers:
    """Ask all of them at once."""
    answers: Answers = {worker.pid: Silence("it was not asked") for worker in workers}

    async def ask(worker: Asked) -> None:
        answers[worker.pid] = await worker.asking.ask(name, details)

    async with anyio.create_task_group() as asking:
        for worker in workers:
            asking.start_soon(ask, worker)
    return answers


async def reply_to(question: Question, answerers: Mapping[str, Answerer], link: Link) -> None:
    """The side of who is asked: answer, or say why not."""
    await link.send_large(await _reply(question, answerers))


async def _reply(question: Question, answerers: Mapping[str, Answerer]) -> Reply:
    answerer = answerers.get(question.name)
    if answerer is None:
        return Reply(question.number, failure=f"it cannot answer {question.name!r}")
    try:
        answer = await answerer(question.details)
    except Exception as exc:  # ours, then: a look from outside must not end the worker
        complain(log, "Internal error when another process asked for %s", question.name, exc_info=exc)
        return Reply(question.number, failure="it could not answer: see its log")
    size = len(json.dumps(answer))
    if size > LARGEST_ANSWER:
        return Reply(question.number, failure=f"its answer of {size:,} bytes is too large")
    return Reply(question.number, answer)
