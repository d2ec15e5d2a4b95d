"""An application runs in its caller's task, in a context of its own."""

import contextvars
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from trioserve._connection.inline import continue_inline, orders_and_errors

variable = contextvars.ContextVar[str]("variable", default="unset")


class Observer:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_suspend(self) -> None:
        self.seen.append("suspend")

    def on_resume(self) -> None:
        self.seen.append("resume")


async def run_inline(app: Coroutine[Any, Any, None], context: contextvars.Context, observer: Observer) -> None:
    """The first step, and the rest if there is one."""
    try:
        trap = context.run(app.send, None)
    except StopIteration:
        return
    await continue_inline(app, trap, context, observer)


async def test_the_context_is_the_applications_own() -> None:
    context = contextvars.copy_context()

    async def app() -> None:
        variable.set("inner")
        await anyio.lowlevel.checkpoint()
        assert variable.get() == "inner"

    await run_inline(app(), context, Observer())
    assert variable.get() == "unset"
    assert context[variable] == "inner"


async def test_the_observer_sees_each_suspension() -> None:
    observer = Observer()

    async def app() -> None:
        observer.seen.append("app")
        await anyio.sleep(1)
        observer.seen.append("app")

    await run_inline(app(), contextvars.copy_context(), observer)
    assert observer.seen[0] == observer.seen[-1] == "app"
    pauses = observer.seen[1:-1]
    assert pauses == ["suspend", "resume"] * (len(pauses) // 2)
    assert pauses


async def test_an_application_that_never_waits_is_not_observed() -> None:
    observer = Observer()

    async def app() -> None:
        pass

    await run_inline(app(), contextvars.copy_context(), observer)
    assert observer.seen == []


async def test_exceptions_pass_through() -> None:
    async def app() -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError("the application's own")

    with pytest.raises(ValueError, match="own"):
        await run_inline(app(), contextvars.copy_context(), Observer())


async def test_cancellation_reaches_the_application_and_passes_through() -> None:
    cleaned_up: list[str] = []

    async def app() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned_up.append(variable.get())

    context = contextvars.copy_context()
    context.run(variable.set, "inner")
    with anyio.move_on_after(5) as scope:
        await run_inline(app(), context, Observer())
    assert scope.cancelled_caught
    assert cleaned_up == ["inner"]


async def test_an_application_that_cleans_up_may_wait_under_a_shield() -> None:
    done: list[bool] = []

    async def app() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)
                done.append(True)

    with anyio.move_on_after(5):
        await run_inline(app(), contextvars.copy_context(), Observer())
    assert done == [True]


async def test_nurseries_and_scopes_of_the_application_work() -> None:
    async def app() -> None:
        with anyio.move_on_after(5) as scope:
            async with anyio.create_task_group() as children:
                children.start_soon(anyio.sleep_forever)
        assert scope.cancelled_caught

    await run_inline(app(), contextvars.copy_context(), Observer())


def test_an_abandoned_application_is_closed_in_its_context() -> None:
    closed: list[str] = []

    async def app() -> None:
        variable.set("inner")
        try:
            await _suspension()
        finally:
            closed.append(variable.get())

    async def driver() -> None:
        await run_inline(app(), contextvars.copy_context(), Observer())

    coro = driver()
    coro.send(None)
    coro.close()
    assert closed == ["inner"]


class _suspension:  # awaited like a function
    def __await__(self):  # type: ignore[no-untyped-def]
        yield


class Forever:
    def __await__(self) -> Generator[None, None, None]:
        yield


async def wait_and_raise() -> None:
    await Forever()
    raise GeneratorExit


def kinds_of(end: Callable[[Coroutine[Any, Any, None]], object]) -> list[tuple[bool, bool]]:
    """Whether an order, and whether an error was found, when a waiting coroutine has been brought to its ``end``."""
    found: list[tuple[bool, bool]] = []

    async def frame() -> None:
        try:
            await wait_and_raise()
        except BaseException as exc:
            order, error = orders_and_errors(exc, cancelled=False)
            found.append((order is not None, error is not None))
            raise

    coro = frame()
    coro.send(None)
    with suppress(GeneratorExit):
        end(coro)
    return found


def test_a_coroutine_that_is_closed_has_an_order() -> None:
    assert kinds_of(lambda coro: coro.close()) == [(True, False)]


def test_a_generator_exit_of_the_application_is_an_error() -> None:
    assert kinds_of(lambda coro: coro.send(None)) == [(False, True)]
