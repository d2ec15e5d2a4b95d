"""Sockets on asyncio and uvloop: the network and its listeners."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import FrameType
from typing import Any

import anyio
import anyio.abc

from trioserve._streams.cork import CorkedNetwork
from trioserve._streams.interface import ByteStream
from trioserve._streams.on_asyncio.cork import LoopCork
from trioserve._streams.on_asyncio.left_generators import give_finalizer_a_frame
from trioserve._streams.on_asyncio.nursery import AsyncioNursery, open_nursery
from trioserve._streams.on_asyncio.stream import SocketStream
from trioserve._streams.on_asyncio.waiting import AsyncioWaitingTasks
from trioserve._streams.sockets import accepting, address_of, is_wildcard, peer_address

__all__ = ["AsyncioNetwork", "caller_from_threads"]


def caller_from_threads() -> Callable[[Callable[[], object]], object]:
    """``Network.call_from_thread`` of the running event loop."""
    return asyncio.get_running_loop().call_soon_threadsafe


class AsyncioNetwork(CorkedNetwork):
    """The running event loop's clock and sockets."""

    task_per_turn = True
    _cork: LoopCork

    def __init__(self) -> None:
        give_finalizer_a_frame()
        self._loop = asyncio.get_running_loop()
        self._runner = None if isinstance(self._loop, asyncio.BaseEventLoop) else _caller_of_this_task()
        self.clock: Callable[[], float] = self._loop.time
        self.call_from_thread = caller_from_threads()
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

    def is_idle_at(self, frame: FrameType) -> bool:
        if frame is self._runner:  # uvloop is written in C: nothing that it has called runs
            return True
        outer = frame.f_back
        return frame.f_globals.get("__name__") == "selectors" and (
            outer is not None and outer.f_globals.get("__name__") == "asyncio.base_events")

    def open_nursery(self) -> AbstractAsyncContextManager[AsyncioNursery]:
        return open_nursery(self._loop)

    def new_waiting_tasks(self) -> AsyncioWaitingTasks:
        return AsyncioWaitingTasks(self._loop)


def _caller_of_this_task() -> FrameType | None:
    """The innermost frame outside of the running task: where the loop has no frames itself, who runs the loop."""
    task = asyncio.current_task()
    frame: FrameType | None = getattr(task.get_coro(), "cr_frame", None) if task is not None else None
    return frame.f_back if frame is not None else None


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
