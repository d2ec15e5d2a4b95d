"""Sockets on trio: the network and its listeners. Which kind of stream they make is decided here.

``PlainStream`` runs everywhere. ``EdgeStream`` is for Linux, where all connections of a server share one epoll.
"""

import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from types import FrameType
from typing import Any

import trio

from trioserve._streams.cork import CorkedNetwork
from trioserve._streams.interface import Address, ByteStream, NurseryFunction, TaskFunction
from trioserve._streams.on_trio.cork import TrioCork
from trioserve._streams.on_trio.edge import EdgePoller, EdgeStream
from trioserve._streams.on_trio.left_generators import close_left_generators
from trioserve._streams.on_trio.plain import PlainStream
from trioserve._streams.on_trio.waiting import TrioWaitingTasks
from trioserve._streams.sockets import accepting, address_of, is_wildcard, peer_address

__all__ = ["TrioNetwork", "caller_from_threads"]


def caller_from_threads() -> Callable[[Callable[[], object]], object]:
    """``Network.call_from_thread`` of the running event loop."""
    return trio.lowlevel.current_trio_token().run_sync_soon


class TrioNetwork(CorkedNetwork):
    """Trio's clock and sockets."""

    task_per_turn = False
    _cork: TrioCork

    def __init__(self, *, edge_triggered: bool = sys.platform == "linux") -> None:
        close_left_generators()
        super().__init__(TrioCork())
        self.clock: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self.call_from_thread = caller_from_threads()
        self._poller = EdgePoller(self._cork) if edge_triggered else None

    def listen(self, sock: socket.socket) -> "TrioListener":
        return TrioListener(sock, self._make_stream, self._cork_burst)

    def is_idle_at(self, frame: FrameType) -> bool:
        return frame.f_code.co_name == "get_events" and frame.f_globals.get("__name__", "").startswith("trio.")

    @asynccontextmanager
    async def open_nursery(self) -> AsyncIterator["TrioNursery"]:
        async with trio.open_nursery() as nursery:
            yield TrioNursery(nursery)

    def new_waiting_tasks(self) -> TrioWaitingTasks:
        return TrioWaitingTasks()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            async with trio.open_nursery() as helpers:
                helpers.start_soon(self._cork.pull_out_after_turns)
                if self._poller is not None:
                    helpers.start_soon(self._poller.run)
                await super().run(task_status=task_status)
                helpers.cancel_scope.cancel()
        finally:
            if self._poller is not None:
                self._poller.close()

    def _cork_burst(self) -> None:
        """Connections have been accepted in a row: their tasks will run together, so their responses leave together."""
        if self._poller is not None and not self._cork.is_in:
            self._cork.push_in()
            self._cork.tasks.start_soon(self._poller.let_them_run)

    def _make_stream(self, sock: socket.socket, peer: Address | None, local: Address | None) -> ByteStream:
        if self._poller is not None:
            return EdgeStream(sock, peer, local, self._poller)
        return PlainStream(sock, peer, local, self._cork)


class TrioNursery:
    """A nursery of trio's."""

    __slots__ = ("_open",)

    def __init__(self, nursery: trio.Nursery | None) -> None:
        self._open = nursery

    @property
    def _nursery(self) -> trio.Nursery:
        if self._open is None:
            raise RuntimeError("the nursery has not begun")
        return self._open

    @property
    def opened(self) -> trio.Nursery | None:
        """The nursery itself, for who looks at its tasks; ``None`` before it has begun."""
        return self._open

    def start_soon(self, function: TaskFunction, *args: object) -> trio.CancelScope:
        scope = trio.CancelScope()
        self._nursery.start_soon(_run_in, scope, function, args, name=_name_of(function))
        return scope

    def start_inside(self, function: TaskFunction, *args: object) -> None:
        self._nursery.start_soon(function, *args)

    def start_at_once(self, function: TaskFunction) -> trio.CancelScope:
        return self.start_soon(function)

    def start_on_input(self, function: TaskFunction, stream: ByteStream) -> None:
        self._nursery.start_soon(function)

    def start_nursery(
        self, function: NurseryFunction, *, name: str | None = None, on_end: Callable[[], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> "TrioChildNursery":  # fmt: skip
        child = TrioChildNursery(on_end, on_error)
        self._nursery.start_soon(child.run, function, name=name or function)
        return child


class TrioChildNursery(TrioNursery):
    """A nursery with a task of its own, in another one."""

    __slots__ = ("_is_born_cancelled", "_on_end", "_on_error")

    def __init__(self, on_end: Callable[[], None] | None, on_error: Callable[[Exception], None] | None) -> None:
        super().__init__(None)
        self._on_end = on_end
        self._on_error = on_error
        self._is_born_cancelled = False

    async def run(self, function: NurseryFunction) -> None:
        try:
            async with trio.open_nursery() as self._open:
                if self._is_born_cancelled:
                    self._open.cancel_scope.cancel()
                await function(self)
        except Exception as exc:
            if self._on_error is None:
                raise
            self._on_error(exc)
        finally:
            if self._on_end is not None:
                self._on_end()

    @property
    def cancel_called(self) -> bool:
        return self._open.cancel_scope.cancel_called if self._open is not None else self._is_born_cancelled

    def cancel(self) -> None:
        if self._open is not None:
            self._open.cancel_scope.cancel()
        else:
            self._is_born_cancelled = True


def _name_of(function: Any) -> Any:
    """What trio would make of it, but once for all tasks; what has no name is left to trio."""
    name = getattr(function, "__qualname__", None)
    return function if name is None else _full_name(function.__module__, name)


@lru_cache
def _full_name(module: str, name: str) -> str:
    return f"{module}.{name}"


async def _run_in(scope: trio.CancelScope, function: TaskFunction, args: tuple[object, ...]) -> None:
    with scope:
        await function(*args)


class TrioListener:
    """Accepts on a listening socket."""

    def __init__(
        self,
        sock: socket.socket,
        make_stream: Callable[[socket.socket, Address | None, Address | None], ByteStream],
        on_burst: Callable[[], None],
    ) -> None:
        self._accept = accepting(sock)
        self._sock = sock
        self._make_stream = make_stream
        self._on_burst = on_burst
        self._in_a_row = 0
        self.address = address_of(sock.getsockname())
        self._wildcard = is_wildcard(self.address)

    async def accept(self) -> ByteStream:
        while (stream := self.accept_nowait()) is None:
            self._in_a_row = 0
            await trio.lowlevel.wait_readable(self._sock)
        return stream

    def accept_nowait(self) -> ByteStream | None:
        try:
            sock, peer = self._accept()
        except BlockingIOError:
            return None
        self._in_a_row += 1
        if self._in_a_row > 1:
            self._on_burst()
        local = address_of(sock.getsockname()) if self._wildcard else self.address
        return self._make_stream(sock, peer_address(peer), local)

    def close(self) -> None:
        self._sock.close()
