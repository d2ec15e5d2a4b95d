"""Sockets on asyncio and uvloop: the network, its listeners, and its nursery."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc

from trioserve._streams.interface import ByteStream, TaskFunction
from trioserve._streams.on_asyncio_stream import LoopCork, SocketStream
from trioserve._streams.sockets import accepting, address_of, is_wildcard, peer_address

__all__ = ["AsyncioNetwork"]


class AsyncioNetwork:
    """The running event loop's clock and sockets."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.clock: Callable[[], float] = loop.time
        self._cork = LoopCork(loop)

    def listen(self, sock: socket.socket) -> "AsyncioListener":
        return AsyncioListener(sock, self._cork)

    @asynccontextmanager
    async def open_nursery(self) -> AsyncIterator["AsyncioNursery"]:
        async with anyio.create_task_group() as outside:
            try:
                async with asyncio.TaskGroup() as group:
                    nursery = AsyncioNursery(group)
                    outside.start_soon(nursery.pass_cancellation_on)
                    try:
                        yield nursery
                    except BaseException:
                        nursery.cancel_all()
                        raise
            finally:
                outside.cancel_scope.cancel()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        task_status.started()  # nothing to do in the background: the event loop does it


class AsyncioNursery:
    """A task group of asyncio's, with a cancel scope of anyio's for each task: it says no again to who ignores it."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._scopes: set[anyio.CancelScope] = set()

    def start_soon(self, function: TaskFunction, *args: object) -> anyio.CancelScope:
        scope = anyio.CancelScope()
        self._scopes.add(scope)
        self._group.create_task(self._run_in(scope, function, args))
        return scope

    async def _run_in(self, scope: anyio.CancelScope, function: TaskFunction, args: tuple[object, ...]) -> None:
        try:
            with scope:
                await function(*args)
        finally:
            self._scopes.discard(scope)

    async def pass_cancellation_on(self) -> None:
        """A task beside the group: its cancellation is that of the group's tasks, whom asyncio would tell only once."""
        try:
            await anyio.sleep_forever()
        finally:
            self.cancel_all()

    def cancel_all(self) -> None:
        for scope in self._scopes:
            scope.cancel()


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
