"""Where a task stands, as Python can tell."""

import contextvars
from collections.abc import AsyncIterator, Coroutine
from types import FunctionType
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.connection.test_inline import Observer, run_inline
from trioserve import demo
from trioserve._connection.inline import continue_as_it_is
from trioserve._connection.stacks import await_frames, await_point, is_machinery


class _suspension:  # awaited like a function
    def __await__(self):  # type: ignore[no-untyped-def]
        yield


def test_the_await_point_is_the_applications_innermost_line() -> None:
    async def innermost() -> None:
        await _suspension()

    async def outermost() -> None:
        await innermost()

    coro = outermost()
    assert "outermost" in await_point(coro)  # not begun: it stands at its first line
    coro.send(None)
    assert await_point(coro).startswith(__file__)
    assert await_point(coro).endswith("innermost)") or "__await__" in await_point(coro)
    coro.close()
    assert await_point(coro) == "its end"


async def test_the_await_point_of_who_runs_is_the_innermost_call() -> None:
    points: list[str] = []

    async def read_body() -> None:
        await anyio.lowlevel.checkpoint()
        points.append(await_point(coro))

    async def app() -> None:
        points.append(await_point(coro))
        await read_body()
        points.append(await_point(coro))

    coro = app()
    await run_inline(coro, contextvars.copy_context(), Observer())
    assert [point.rpartition(".")[2] for point in points] == ["app)", "read_body)", "app)"]
    assert all(point.startswith(f"{__file__}:") for point in points)


def in_module(name: str, function: Any) -> Any:
    """The same function, as if it stood in that module."""
    return FunctionType(function.__code__, {**globals(), "__name__": name}, closure=function.__closure__)


@pytest.mark.parametrize("module", ["trioserve._admin.app", "trioserve._server.application.wsgi"])
async def test_the_await_point_in_an_application_of_ours(module: str) -> None:
    points: list[str] = []

    async def receive() -> None:
        await anyio.sleep(5)

    async def app() -> None:
        points.append(await_point(coro))
        await below()

    below = in_module("trioserve._connection.exchange", receive)
    coro = in_module(module, app)()

    async def look() -> None:
        await anyio.sleep(1)
        points.append(await_point(coro))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await run_inline(coro, contextvars.copy_context(), Observer())
    assert [point.rpartition(".")[2] for point in points] == ["app)", "app)"]


async def test_the_demo_is_no_machinery() -> None:
    coro = demo.app({"type": "lifespan"}, anyio.sleep_forever, anyio.sleep_forever)  # type: ignore[arg-type]
    assert not any(map(is_machinery, await_frames(coro)))
    coro.close()


def test_the_await_point_of_a_coroutine_that_is_not_pythons() -> None:
    class Compiled(Coroutine[Any, Any, None]):
        """As Cython makes one."""

        def send(self, value: Any) -> Any: ...
        def throw(self, *args: Any) -> Any: ...
        def __await__(self) -> Any: ...
        def close(self) -> None: ...

    assert await_point(Compiled()).startswith("a line of test_the_await_point_of_a_coroutine_that_is_not_pythons")


def test_the_await_point_takes_nothing_for_a_frame_that_is_none() -> None:
    class Anything:
        """Has every attribute, as a mock has."""

        def __await__(self) -> "Anything":
            return self

        def __iter__(self) -> "Anything":
            return self

        def __next__(self) -> None:
            return None

        def __getattr__(self, name: str) -> "Anything":
            return self

        def __call__(self) -> None:
            """``close``, for one."""

    async def app() -> None:
        await Anything()  # type: ignore[misc]  # that is the point

    coro = app()
    coro.send(None)
    assert await_point(coro).endswith("app)")
    coro.close()


async def test_the_await_point_leaves_out_the_machinery() -> None:
    points: list[str] = []

    async def app() -> None:
        await anyio.sleep(5)

    coro = app()

    async def look() -> None:
        await anyio.sleep(1)
        points.append(await_point(coro))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await run_inline(coro, contextvars.copy_context(), Observer())
    assert points[0].endswith("app)")


async def names_meanwhile(coro: Coroutine[Any, Any, None]) -> list[str]:
    """The application's functions, outermost first, a second after ``coro`` has begun."""
    names: list[str] = []

    async def look() -> None:
        await anyio.sleep(1)
        names.extend(frame.f_code.co_name for frame in await_frames(coro) if not is_machinery(frame))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await coro
    return names


async def test_frames_lead_from_the_connections_task_into_the_application() -> None:
    async def innermost() -> None:
        await anyio.sleep(5)

    async def app() -> None:
        await innermost()

    async def connection() -> None:
        stream = run_inline(app(), contextvars.copy_context(), Observer())
        await continue_as_it_is(stream, stream.send(None))

    assert await names_meanwhile(connection()) == ["connection", "run_inline", "app", "innermost"]


async def test_frames_of_who_waits_for_an_asynchronous_generator() -> None:
    async def parts() -> AsyncIterator[bytes]:
        await anyio.sleep(5)
        yield b"part"

    async def app() -> None:
        async for _ in parts():
            pass

    assert await names_meanwhile(app()) == ["app", "parts"]
