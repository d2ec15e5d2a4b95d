"""On asyncio: tasks that are put under a cancel scope when it is cancelled, or enter one when anyio has changed."""

import asyncio
import contextlib
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio._backends import _asyncio as backend

from tests.helpers.nurseries import NURSERY_KINDS, Start, Worker, child_nursery, one_way
from tests.helpers.stream_pairs import Kind, eventually, skip_if_missing
from trioserve._streams import CancellableNursery, Nursery, open_network
from trioserve._streams.anyio_adoption import CAN_ADOPT, looks_as_expected


@pytest.fixture(params=[kind for kind in NURSERY_KINDS if kind.name != "trio-edge"], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    skip_if_missing(kind)
    return kind


@pytest.fixture(params=["inside", "inside without adoption"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Start:
    return one_way(request.param, monkeypatch)


@asynccontextmanager
async def cancelled_after_a_while() -> AsyncIterator[CancellableNursery]:
    """A nursery whose tasks have all begun to wait when it is cancelled."""
    with anyio.fail_after(10):
        async with child_nursery() as nursery:
            yield nursery
            await anyio.sleep(0.01)
            nursery.cancel()


def traces_in_anyio() -> set[Any]:
    return {task for task in backend._task_states if task.done()}


# -- what a task may be doing when it is cancelled ---------------------------------------------------------------------


async def test_it_waits(start: Start) -> None:
    worker = Worker()
    async with cancelled_after_a_while() as nursery:
        start(nursery, worker)
    assert worker.outcome == "cancelled"


async def test_it_has_not_begun(start: Start) -> None:
    worker = Worker()
    async with child_nursery() as nursery:
        start(nursery, worker)
        nursery.cancel()
    assert worker.outcome == "cancelled"


async def test_it_waits_in_scopes_of_the_application(start: Start) -> None:
    worker = Worker()
    reached: list[str] = []

    async def application() -> None:
        with anyio.CancelScope() as outer:
            with anyio.move_on_after(100) as inner:
                await worker()
            reached.append("left the inner one")
        reached.append("left the outer one")
        assert not outer.cancelled_caught and not inner.cancelled_caught

    async with cancelled_after_a_while() as nursery:
        start(nursery, application)
    assert worker.outcome == "cancelled"
    assert reached == []  # the cancellation is not theirs


async def test_it_has_left_the_scopes_that_it_was_in(start: Start) -> None:
    worker = Worker()

    async def application() -> None:
        with anyio.move_on_after(0.001):
            await anyio.sleep_forever()
        await worker()

    async with cancelled_after_a_while() as nursery:
        start(nursery, application)
        await worker.begun.wait()
    assert worker.outcome == "cancelled"


@pytest.mark.parametrize("around", [False, True], ids=["alone", "in a scope"])
async def test_it_is_in_a_shielded_scope(start: Start, around: bool) -> None:
    worker = Worker()
    reached: list[str] = []

    async def application() -> None:
        with anyio.CancelScope() if around else contextlib.nullcontext():
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
                reached.append("the end of the shield")
            await worker()

    async with cancelled_after_a_while() as nursery:
        start(nursery, application)
    assert reached == ["the end of the shield"]
    assert worker.outcome == "cancelled"


async def test_it_shields_what_it_does_when_it_is_cancelled(start: Start) -> None:
    reached: list[str] = []

    async def application() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(0.01):
                    await anyio.sleep_forever()
                reached.append("its own timeout")
                await anyio.sleep(0.01)
                reached.append("the end of the shield")

    async with cancelled_after_a_while() as nursery:
        start(nursery, application)
    assert reached == ["its own timeout", "the end of the shield"]


async def test_it_waits_for_a_task_group_of_the_application(start: Start) -> None:
    workers = [Worker(), Worker(), Worker()]
    reached: list[str] = []

    async def shielded() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)
            reached.append("the end of the shield")

    async def application() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(workers[0])
            group.start_soon(workers[1])
            group.start_soon(shielded)
            await workers[2]()

    async with cancelled_after_a_while() as nursery:
        start(nursery, application)
    assert [worker.outcome for worker in workers] == ["cancelled"] * 3
    assert reached == ["the end of the shield"]


@pytest.mark.parametrize("in_a_scope", [False, True])
async def test_it_catches_the_cancellation_and_waits_again(start: Start, in_a_scope: bool) -> None:
    told = 0

    async def stubborn() -> None:
        nonlocal told
        with anyio.CancelScope() if in_a_scope else contextlib.nullcontext():
            while told < 3:
                try:
                    await anyio.sleep_forever()
                except asyncio.CancelledError:
                    told += 1

    async with cancelled_after_a_while() as nursery:
        start(nursery, stubborn)
    assert told == 3


async def test_it_is_started_when_all_others_are_shielded(start: Start) -> None:
    worker = Worker()

    async def polite() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)  # by then there is nobody to tell of the cancellation
            start(nursery, worker)
            with anyio.fail_after(10):
                await eventually(lambda: worker.outcome)

    async with cancelled_after_a_while() as nursery:
        start(nursery, polite)
    assert worker.outcome == "cancelled"


async def test_it_waits_for_a_thread(start: Start) -> None:
    reached: list[str] = []

    async def application() -> None:
        await anyio.to_thread.run_sync(lambda: reached.append("the end of the thread"))
        await anyio.sleep_forever()

    async with cancelled_after_a_while() as nursery:
        start(nursery, application)
    assert reached == ["the end of the thread"]


async def test_a_scope_of_the_application_that_is_cancelled_too_ends_like_any_other(start: Start) -> None:
    worker = Worker()
    scopes: list[anyio.CancelScope] = []

    async def application() -> None:
        with anyio.CancelScope() as own:
            scopes.append(own)
            await worker()

    async with child_nursery() as nursery:
        start(nursery, application)
        await worker.begun.wait()
        scopes[0].cancel()
        nursery.cancel()
    assert worker.outcome == "cancelled"


# -- what is left ------------------------------------------------------------------------------------------------------


async def test_nothing_is_left_in_anyios_tables(start: Start) -> None:
    before = traces_in_anyio()
    ended, stubborn = Worker(), Worker()
    scopes: list[Any] = []

    async def ends_normally() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await stubborn()

    async with child_nursery() as nursery:
        scopes.append(nursery._cancel_scope)  # type: ignore[attr-defined]
        start(nursery, ended)
        start(nursery, ends_normally)
        await ended.begun.wait()
        await stubborn.begun.wait()
        ended.may_end.set()
        await anyio.sleep(0.01)
        assert len(nursery._inside) + len(nursery._scoped) == 1  # type: ignore[attr-defined]
        nursery.cancel()
    await anyio.lowlevel.checkpoint()
    assert (ended.outcome, stubborn.outcome) == ("ended", "cancelled")
    assert traces_in_anyio() <= before
    assert not scopes[0]._tasks
    assert not scopes[0]._child_scopes


async def test_a_cancellation_by_the_application_itself_is_not_swallowed(start: Start) -> None:
    tasks: list[asyncio.Task[Any] | None] = []
    worker = Worker()

    async def application() -> None:
        tasks.append(asyncio.current_task())
        await worker()

    with anyio.fail_after(10):
        async with child_nursery() as nursery:
            start(nursery, application)
            await worker.begun.wait()
            assert tasks[0] is not None
            tasks[0].cancel("forgotten")
    assert worker.outcome == "cancelled"
    assert tasks[0].cancelled()


async def test_a_task_that_the_application_cancels_before_it_begins_is_not_waited_for(start: Start) -> None:
    async def connection(nursery: Nursery) -> None:
        known = asyncio.all_tasks()
        start(nursery, Worker())
        for task in asyncio.all_tasks() - known:
            task.cancel()
        await anyio.sleep(0.01)

    with anyio.fail_after(10):
        async with open_network().open_nursery() as outer:
            outer.start_nursery(connection)


async def test_asyncios_own_end_of_all_tasks_ends_a_nursery(start: Start) -> None:
    """``asyncio.run`` cancels all tasks that are left, each of them once."""
    worker = Worker()

    async def connection(nursery: Nursery) -> None:
        start(nursery, worker)

    async def serve() -> None:
        async with open_network().open_nursery() as outer:
            outer.start_nursery(connection)
            await anyio.sleep_forever()

    known = asyncio.all_tasks()
    serving = asyncio.create_task(serve())
    await worker.begun.wait()
    await anyio.sleep(0.01)
    for task in asyncio.all_tasks() - known:
        task.cancel()
    with anyio.fail_after(10), pytest.raises(asyncio.CancelledError):
        await serving
    assert worker.outcome == "cancelled"


async def test_the_task_of_a_nursery_that_is_cancelled_by_asyncio_takes_the_others_with_it(start: Start) -> None:
    worker = Worker()
    may_end = anyio.Event()
    reached: list[str] = []

    async def polite() -> None:
        try:
            await worker()
        finally:
            with anyio.CancelScope(shield=True):
                await may_end.wait()
                reached.append("the end of the shield")

    async def connection(nursery: Nursery) -> None:
        start(nursery, polite)

    with anyio.fail_after(10):
        async with open_network().open_nursery() as outer:
            known = asyncio.all_tasks()
            child = outer.start_nursery(connection)
            (host,) = asyncio.all_tasks() - known
            await worker.begun.wait()
            for _ in range(3):
                host.cancel()
                await anyio.sleep(0.01)
            assert child.cancel_called
            assert not host.done()
            may_end.set()
    assert reached == ["the end of the shield"]
    assert host.cancelled()


# Python 3.12 brings an eager one; uvloop and that of 3.13.0 do not understand each other.
@pytest.mark.parametrize("kind", [kind for kind in NURSERY_KINDS if kind.name == "asyncio"], ids=str, indirect=True)
@pytest.mark.parametrize("factory", [None, getattr(asyncio, "eager_task_factory", None)], ids=["usual", "eager"])
async def test_tasks_may_begin_at_once(start: Start, factory: Any) -> None:
    ended, worker = Worker(), Worker()
    ended.may_end.set()
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    async with cancelled_after_a_while() as nursery:
        start(nursery, ended)
        start(nursery, worker)
    loop.set_task_factory(None)
    assert (ended.outcome, worker.outcome) == ("ended", "cancelled")


# -- which of the two --------------------------------------------------------------------------------------------------


def test_the_anyio_that_is_installed_looks_as_expected() -> None:
    """If it does not, each request costs 4 us more: see whether ``anyio_adoption`` can learn the new one."""
    assert CAN_ADOPT


class OtherState:
    def __init__(self, cancel_scope: object) -> None:
        """One argument less."""


class OtherScope(backend.CancelScope):
    __slots__ = ()

    def _reparent(self, new_parent: Any, reason: str) -> None:  # type: ignore[override]
        """One argument more."""


class EmptyScope:
    __slots__ = ("_tasks",)


@pytest.mark.parametrize(("name", "other"), [
    ("_task_states", {}), ("_task_states", None), ("TaskState", OtherState), ("TaskState", None),
    ("CancelScope", OtherScope), ("CancelScope", EmptyScope), ("CancelScope", None)])
def test_one_that_has_changed_does_not(name: str, other: Any) -> None:
    parts = {part: getattr(backend, part) for part in ("CancelScope", "TaskState", "_task_states")}
    assert looks_as_expected(types.SimpleNamespace(**parts))
    assert not looks_as_expected(types.SimpleNamespace(**parts | {name: other}))
    del parts[name]
    assert not looks_as_expected(types.SimpleNamespace(**parts))
