"""Whom Python tells of an async generator that is left, once there is a network. That nothing crashes then is tested
with a real server.
"""

import sys
from types import FunctionType
from typing import Any

import anyio
import pytest

from trioserve._streams import open_network


@pytest.fixture(params=["trio", "asyncio", "uvloop"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "trio":
        return {"backend": "trio"}
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return {"backend": "asyncio", "backend_options": {"use_uvloop": request.param == "uvloop"}}


def test_a_function_in_python_is_told(options: dict[str, Any]) -> None:
    async def finalizers() -> list[Any]:
        found = []
        for _ in range(2):  # a second server in the same event loop changes nothing
            open_network()
            found.append(sys.get_asyncgen_hooks().finalizer)
        return found

    before = sys.get_asyncgen_hooks()
    finalizer, again = anyio.run(finalizers, **options)
    assert isinstance(getattr(finalizer, "__func__", finalizer), FunctionType)
    assert again == finalizer
    assert sys.get_asyncgen_hooks() == before


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # trio closes it, and warns
def test_the_event_loop_closes_what_is_left(options: dict[str, Any]) -> None:
    async def leave() -> None:
        closed = anyio.Event()

        async def numbers() -> Any:
            try:
                yield 1
            finally:
                closed.set()

        open_network()
        await anext(numbers())
        with anyio.fail_after(5):
            await closed.wait()

    anyio.run(leave, **options)
