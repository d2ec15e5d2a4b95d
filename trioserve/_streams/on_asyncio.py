"""Sockets on asyncio and uvloop: the network, its listeners, and its nursery."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc

from trioserve._streams.cork import CorkedNetwork
from trioserve._streams.interface import ByteStream, TaskFunction
from trioserve._streams.on_asyncio_stream import LoopCork, SocketStream
from trioserve._streams.sockets import accepting, address_of, is_wildcard, peer_address

__all__ = ["AsyncioNetwork"]


class AsyncioNetwork(CorkedNetwork):
    """The running event loop's clock and sockets."""

    _cork: LoopCork

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.clock: Callable[[], float] = self._loop.time
        super().__init__(LoopCork(self._loop))

    def listen(self, sock: socket.socket) -> "AsyncioListener":
        return AsyncioListener(sock, self._cork)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        try:
            await super().run(task_status=task_status)
        finally:
            self._cork.ends.close()
            if self._cork.openers:
                with anyio.CancelScope(shield=True):
                    await asyncio.wait(self._cork.openers)

    @asynccontextmanager
    async def open_nursery(self) -> AsyncIterator["AsyncioNursery"]:
        async with anyio.create_task_group() as group:
            nursery = AsyncioNursery(self._loop, group.cancel_scope)
            group.start_soon(nursery.watch_over_tasks)
            try:
                yield nursery
            finally:
                nursery.close()


class AsyncioNursery:
    """Tasks of asyncio's, with a cancel scope of anyio's for each, inside ``cancel_scope``.

    Whatever ends the nursery cancels ``cancel_scope``, and that one the others. So a task is told again until it ends,
    and what it has shielded comes to its end: as on trio, and other than in ``asyncio.TaskGroup``.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, cancel_scope: anyio.CancelScope) -> None:
        self._loop = loop
        self._cancel_scope = cancel_scope
        self._scopes: dict[asyncio.Task[None], anyio.CancelScope] = {}
        self._errors: list[BaseException] = []
        self._is_cancelled = False
        self._is_closing = False
        self._is_empty = asyncio.Event()  # and will remain so

    def start_soon(self, function: TaskFunction, *args: object) -> anyio.CancelScope:
        if self._is_empty.is_set():
            raise RuntimeError("the nursery has ended")
        scope = anyio.CancelScope()
        if self._is_cancelled:
            scope.cancel()
        task = self._loop.create_task(_run_in(scope, function, args))
        self._scopes[task] = scope
        task.add_done_callback(self._on_done)
        return scope

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        del self._scopes[task]
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._errors.append(exc)
            self._cancel_scope.cancel()
        self._note_end()

    def close(self) -> None:
        """Whoever has opened the nursery leaves it: it ends with its last task."""
        self._is_closing = True
        self._note_end()

    def _note_end(self) -> None:
        if self._is_closing and not self._scopes:
            self._is_empty.set()

    async def watch_over_tasks(self) -> None:
        """A task in ``cancel_scope``, which ends after the others and hands its cancellation on to them."""
        try:
            await self._is_empty.wait()
        except asyncio.CancelledError:
            self._is_cancelled = True
            for scope in self._scopes.values():
                scope.cancel()
            with anyio.CancelScope(shield=True):
                await self._is_empty.wait()
            raise
        finally:
            if self._errors:
                raise BaseExceptionGroup("exceptions in a nursery", self._errors)


async def _run_in(scope: anyio.CancelScope, function: TaskFunction, args: tuple[object, ...]) -> None:
    with scope:
        await function(*args)


class AsyncioListener:
    """Accepts on a listening socket."""

    def __init__(self, sock: socket.socket, cork: LoopCork) -> None:
        self._accept = accepting(sock)
        self._sock = sock
        self._cork = cork
        self._in_a_row = 0
        self._loop = asyncio.get_running_loop()
        self.address = address_of(sock.getsockname())
        self._wildcard = is_wildcard(self.address)

    async def accept(self) -> ByteStream:
        while (stream := self.accept_nowait()) is None:
            self._in_a_row = 0
            await self._wait_readable()
        return stream

    def accept_nowait(self) -> ByteStream | None:
        try:
            sock, peer = self._accept()
        except BlockingIOError:
            return None
        self._in_a_row += 1
        if self._in_a_row > 1:
            self._cork.expect_burst()
        local = address_of(sock.getsockname()) if self._wildcard else self.address
        return SocketStream(sock, peer_address(peer), local, self._cork, self._loop)

    async def _wait_readable(self) -> None:
        readable = self._loop.create_future()
        self._loop.add_reader(self._sock, _set_result, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(self._sock)

    def close(self) -> None:
        self._sock.close()


def _set_result(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_result(None)
