"""The advice to take the other backend, against what the libraries of today really say."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

from trioserve._hints import backend_hint


async def wait_for_a_future() -> None:
    loop = asyncio.new_event_loop()
    try:
        await loop.create_future()
    finally:
        loop.close()


async def use_an_asyncio_task_group() -> None:
    async with asyncio.TaskGroup():
        pass


async def sleep_with_trio() -> None:
    await trio.sleep(0.1)


async def pass_a_checkpoint() -> None:
    await trio.lowlevel.checkpoint()


async def open_a_nursery() -> None:
    async with trio.open_nursery():
        pass


async def move_on_with_trio() -> None:
    with trio.move_on_after(1):
        await trio.Event().wait()


ASYNCIO_CODE: list[Callable[[], Awaitable[Any]]] = [
    lambda: asyncio.sleep(0), lambda: asyncio.sleep(0.1), lambda: asyncio.Queue[int]().get(),
    lambda: asyncio.to_thread(int), wait_for_a_future, use_an_asyncio_task_group,
]
TRIO_CODE: list[Callable[[], Awaitable[Any]]] = [
    lambda: trio.Event().wait(), lambda: trio.Lock().acquire(), lambda: trio.to_thread.run_sync(int),
    sleep_with_trio, pass_a_checkpoint, open_a_nursery, move_on_with_trio,
]


def failure_of(code: Callable[[], Awaitable[Any]], backend: str) -> BaseException:
    async def main() -> None:
        await code()

    with pytest.raises(Exception) as failure:
        anyio.run(main, backend=backend)
    return failure.value


@pytest.mark.parametrize("code", ASYNCIO_CODE)
def test_asyncio_code_on_trio(code: Callable[[], Awaitable[Any]]) -> None:
    hint = backend_hint(failure_of(code, "trio"), "trio")
    assert hint is not None
    assert hint.endswith("--backend asyncio")


@pytest.mark.parametrize("code", TRIO_CODE)
def test_trio_code_on_asyncio(code: Callable[[], Awaitable[Any]]) -> None:
    hint = backend_hint(failure_of(code, "asyncio"), "asyncio")
    assert hint is not None
    assert hint.endswith("--backend trio")


def test_no_advice_for_the_backend_that_runs_already() -> None:
    assert backend_hint(RuntimeError("no running event loop"), "asyncio") is None
    assert backend_hint(RuntimeError("must be called from async context"), "trio") is None


@pytest.mark.parametrize("exc", [
    RuntimeError("the loop is running"), ValueError("no running event loop"), RuntimeError(), RuntimeError(5),
], ids=repr)
def test_other_errors_get_none(exc: Exception) -> None:
    assert backend_hint(exc, "trio") is None


def test_the_sign_is_found_behind_causes_contexts_and_groups() -> None:
    sign = RuntimeError("no running event loop")
    caused, contextual = ValueError("cause"), ValueError("context")
    caused.__cause__ = sign
    contextual.__context__ = ExceptionGroup("group", [KeyError("other"), caused])
    assert backend_hint(contextual, "trio") is not None


def test_a_circle_of_contexts_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    assert backend_hint(first, "trio") is None


def test_an_exception_without_a_readable_text_does_no_harm() -> None:
    class Unreadable(RuntimeError):
        def __str__(self) -> str:
            raise NotImplementedError

    assert backend_hint(Unreadable("x"), "trio") is None
