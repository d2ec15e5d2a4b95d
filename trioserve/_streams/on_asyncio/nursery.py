"""The nursery on asyncio and uvloop: tasks of asyncio's that are cancelled as anyio cancels.

So a task is told again until it ends, and what it has shielded comes to its end: as on trio, and other than in
``asyncio.TaskGroup``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio

from trioserve._streams import anyio_adoption
from trioserve._streams.interface import ByteStream, Cancellable, NurseryFunction, TaskFunction
from trioserve._streams.on_asyncio.eager import CAN_BEGIN_AT_ONCE

__all__ = ["AsyncioNursery", "open_nursery"]

ADOPTS: Final = anyio_adoption.CAN_ADOPT
NOT_OPEN: Final = "the nursery has ended, or has not begun"


class AsyncioNursery:
    """Tasks that end before ``run`` or ``watch_over_tasks`` does, which is a task with ``cancel_scope`` around it.

    A task that is a nursery has a scope of its own, and is cancelled by that. The others enter none: they are put under
    a scope when they are cancelled, not before. See ``anyio_adoption``.

    Attributes:
        cancel_called: all tasks have been cancelled, and those that come are.
        is_open: tasks can be started.
    """

    __slots__ = (
        "_awaited", "_awaits_from", "_begins", "_can_begin", "_cancel_scope", "_emptied", "_errors", "_has_factory",
        "_inside", "_loop", "_make_scope", "_name", "_scoped", "cancel_called", "is_open",
    )  # fmt: skip

    _awaits_from: ByteStream  # the input that ``_awaited`` is for

    def __init__(self, loop: asyncio.AbstractEventLoop, cancel_scope: anyio.CancelScope, name: str) -> None:
        self._loop = loop
        self._has_factory = loop.get_task_factory() is not None
        self._can_begin = CAN_BEGIN_AT_ONCE and not self._has_factory
        self._cancel_scope = cancel_scope
        self._make_scope = type(cancel_scope)  # anyio.CancelScope would look for it each time, for 2.5 us
        self._name = name  # of tasks that are started inside; to make one for each would cost 0.1 of 1.8 us
        self._inside: set[asyncio.Task[None]] = set()
        self._begins = False  # the running task, which will be inside unless it ends now
        self._scoped: dict[asyncio.Task[None], Cancellable] = {}
        self._awaited: TaskFunction | None = None  # will be a task inside
        self._errors: list[BaseException] = []
        self._emptied: asyncio.Future[None] | None = None  # made by who waits for the last task
        self.cancel_called = False
        self.is_open = False

    # What is started.

    def start_soon(self, function: TaskFunction, *args: object) -> Cancellable:
        if not ADOPTS:
            return self._start_in_scope(function, args)
        return _Inside(self, self._start(function, args, _name_of(function)))

    def start_inside(self, function: TaskFunction, *args: object) -> None:
        if not ADOPTS:
            self._start_in_scope(function, args)
        else:
            self._start(function, args, self._name)

    def start_at_once(self, function: TaskFunction) -> Cancellable | None:
        if not ADOPTS:
            return self._start_in_scope(function, ())
        task = self._start(function, (), self._name, at_once=self._can_begin)
        return None if task.done() else _Inside(self, task)

    def _start_in_scope(self, function: TaskFunction, args: tuple[object, ...]) -> anyio.CancelScope:
        if not self.is_open:
            raise RuntimeError(NOT_OPEN)
        scope = self._make_scope()
        self._keep(self._loop.create_task(_run_in(scope, function, args), name=_name_of(function)), scope)
        return scope

    def _start(
        self, function: TaskFunction, args: tuple[object, ...], name: str, *, at_once: bool = False
    ) -> "asyncio.Task[None]":
        if not self.is_open:
            raise RuntimeError(NOT_OPEN)
        own: list[asyncio.Task[None]] = []  # its task, for ``_run_inside``: to ask asyncio would cost more
        coro = _run_inside(self, own, function, args)
        if self._has_factory:
            task = self._loop.create_task(coro, name=name)
        elif at_once:
            task = self._begin(coro, name)
        else:
            task = asyncio.Task(coro, loop=self._loop, name=name)  # what the loop does, for 0.25 us less of 1.5
        own.append(task)
        if not task.done():  # as it may be with an eager task factory, too
            self._inside.add(task)
            if self.cancel_called:
                self._adopt(task)
        return task

    def _begin(self, coro: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """A task that has taken its first step."""
        self._begins = True
        try:
            return asyncio.Task(coro, loop=self._loop, name=name, eager_start=True)  # type: ignore[call-arg]  # 3.12
        finally:
            self._begins = False

    def start_on_input(self, function: TaskFunction, stream: ByteStream) -> None:
        if ADOPTS and not self.cancel_called and stream.call_when_input(self._on_input):
            self._awaited = function
            self._awaits_from = stream
        else:
            self.start_inside(function)

    def _on_input(self) -> None:
        function, self._awaited = self._awaited, None
        assert function is not None, "it is called once"
        is_called_by_loop = self._can_begin and asyncio.current_task(self._loop) is None
        self._start(function, (), self._name, at_once=is_called_by_loop)

    def start_nursery(
        self, function: NurseryFunction, *, name: str | None = None, on_end: Callable[[], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> "AsyncioNursery":  # fmt: skip
        if not self.is_open:
            raise RuntimeError(NOT_OPEN)
        name = name or _name_of(function)
        child = AsyncioNursery(self._loop, self._make_scope(), name)
        self._keep(self._loop.create_task(child.run(function, on_end, on_error), name=name), child)
        return child

    def _keep(self, task: "asyncio.Task[None]", own: Cancellable) -> None:
        self._scoped[task] = own
        task.add_done_callback(self._on_done)
        if self.cancel_called:
            own.cancel()

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        del self._scoped[task]
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._fail(exc)
        self._note_end()

    def tasks(self) -> list[asyncio.Task[None]]:
        """Those that are in it now, for who looks."""
        tasks = [*self._inside, *self._scoped]
        if self._begins and (running := asyncio.current_task(self._loop)) is not None:
            tasks.append(running)
        return tasks

    # Cancelling.

    def cancel(self) -> None:
        if self.cancel_called:
            return
        self.cancel_called = True
        if self._awaited is not None:
            self._awaits_from.interrupt()  # it is started, to be cancelled with the others
        self._forget_unborn()
        for task in tuple(self._inside):
            self._adopt(task)
        for own in tuple(self._scoped.values()):
            own.cancel()
        self._cancel_scope.cancel()

    def cancel_one(self, task: "asyncio.Task[None]") -> None:
        """Cancel a task inside."""
        if not task.done() and not self.cancel_called:
            self._start(_cancel_alone, (task,), self._name)

    def _fail(self, error: BaseException) -> None:
        """A task has failed, or who has opened the nursery."""
        self._errors.append(error)
        self.cancel()

    def _adopt(self, task: "asyncio.Task[None]") -> None:
        anyio_adoption.adopt(task, self._cancel_scope)
        task.add_done_callback(self._forget)

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._inside.discard(task)
        self._note_end()

    def _forget_unborn(self) -> None:
        """A task that asyncio itself has cancelled before its first step could not say that it ended."""
        for task in tuple(self._inside):
            if task.done():
                self._forget(task)

    # The end.

    @property
    def _has_tasks(self) -> bool:
        return bool(self._inside or self._scoped or self._awaited)

    def _note_end(self) -> None:
        if self._emptied is not None and not self._has_tasks and not self._emptied.done():
            self._emptied.set_result(None)

    async def run(
        self, function: NurseryFunction, on_end: Callable[[], None] | None, on_error: Callable[[Exception], None] | None
    ) -> None:
        """The task of a nursery in a nursery."""
        with self._cancel_scope:
            self.is_open = True
            try:
                await self._run(function)
            except Exception as exc:
                if on_error is None:
                    raise
                on_error(exc)
            finally:
                if on_end is not None:
                    on_end()

    async def _run(self, function: NurseryFunction) -> None:
        try:
            await function(self)
        except asyncio.CancelledError:
            self.cancel()
            raise
        except BaseException as exc:
            self._fail(exc)
        finally:
            await self._end()

    async def watch_over_tasks(self, left: asyncio.Event) -> None:
        """A task beside a block in which the nursery is open, until it is ``left``: it hears of a cancellation."""
        try:
            await left.wait()
        except asyncio.CancelledError:
            self.cancel()
            with anyio.CancelScope(shield=True):
                await left.wait()
            raise
        finally:
            await self._end()

    async def _end(self) -> None:
        """Wait for all tasks, then raise what they have raised, if anything."""
        try:
            self._forget_unborn()
            await self._last_task()
        except asyncio.CancelledError:
            self.cancel()
            while self._has_tasks:
                with contextlib.suppress(asyncio.CancelledError), anyio.CancelScope(shield=True):
                    await self._last_task()
            raise
        finally:
            self.is_open = False
            if self._errors:
                raise BaseExceptionGroup("exceptions in a nursery", self._errors)

    async def _last_task(self) -> None:
        while self._has_tasks:
            self._emptied = self._loop.create_future()
            await self._emptied


@asynccontextmanager
async def open_nursery(loop: asyncio.AbstractEventLoop) -> AsyncIterator[AsyncioNursery]:
    """A nursery for a block."""
    async with anyio.create_task_group() as group:
        nursery = AsyncioNursery(loop, group.cancel_scope, name="trioserve")
        nursery.is_open = True
        left = asyncio.Event()
        group.start_soon(nursery.watch_over_tasks, left)
        try:
            yield nursery
        finally:
            left.set()


class _Inside:
    """A task inside, for who may want to cancel it: a scope is made only then."""

    __slots__ = ("_is_cancelled", "_nursery", "_task")

    def __init__(self, nursery: AsyncioNursery, task: "asyncio.Task[None]") -> None:
        self._nursery = nursery
        self._task = task
        self._is_cancelled = False

    def cancel(self) -> None:
        if not self._is_cancelled:
            self._is_cancelled = True
            self._nursery.cancel_one(self._task)


async def _cancel_alone(task: "asyncio.Task[None]") -> None:
    """Be the scope of ``task`` until it has ended."""
    with anyio.CancelScope() as scope:
        anyio_adoption.adopt(task, scope)
        scope.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])


async def _run_in(scope: anyio.CancelScope, function: TaskFunction, args: tuple[object, ...]) -> None:
    with scope:
        await function(*args)


async def _run_inside(
    nursery: AsyncioNursery, own: "list[asyncio.Task[None]]", function: TaskFunction, args: tuple[object, ...]
) -> None:
    """Keeps the books of the nursery by itself: with a callback when it is done it would cost 1.9 us, and not 1.8."""
    try:
        await function(*args)
    except asyncio.CancelledError:
        raise
    except (KeyboardInterrupt, SystemExit) as exc:  # they end the event loop as well
        nursery._fail(exc)
        if not nursery._begins:
            raise
        nursery._loop.call_soon(_raise, exc)  # who has begun this task is somebody else
    except BaseException as exc:
        nursery._fail(exc)
    finally:
        if own:
            nursery._inside.discard(own.pop())
        if not nursery._inside and nursery._awaited is None:
            nursery._note_end()


def _raise(order: BaseException) -> None:
    raise order


def _name_of(function: Any) -> str:
    name: str = getattr(function, "__qualname__", None) or type(function).__qualname__
    return name
