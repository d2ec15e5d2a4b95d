"""What threads tell an event loop, and what they have it do for a request."""

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

import anyio.abc

from trioserve._errors import AppError, ClientDisconnected

__all__ = ["Errands", "LoopInbox", "request_ended"]

T = TypeVar("T")


class LoopInbox:
    """Functions that threads want to have called by one event loop; made in its thread.

    Attributes:
        call_from_thread: lets the loop call one function, and wakes it for that.
        thread: the loop's.
    """

    def __init__(self, call_from_thread: Callable[[Callable[[], object]], object]) -> None:
        self.call_from_thread = call_from_thread
        self.thread = threading.get_ident()
        self._functions: deque[Callable[[], object]] = deque()
        self._is_woken = False  # and has not come to look: what is told meanwhile needs no further wake-up

    def tell(self, function: Callable[[], object]) -> None:
        """Have ``function`` called soon; it must not raise. In any thread.

        Raises:
            ClientDisconnected: the loop has ended.
        """
        self._functions.append(function)
        if not self._is_woken:
            self._is_woken = True
            try:
                self.call_from_thread(self._look)
            except RuntimeError:
                self._is_woken = False
                raise request_ended() from None

    def _look(self) -> None:
        self._is_woken = False  # first: whoever comes after this wakes the loop again
        for _ in range(len(self._functions)):
            self._functions.popleft()()

    def refuse_own_thread(self) -> None:
        """Raise AppError in the event loop's own thread, which would wait for itself."""
        if threading.get_ident() == self.thread:
            raise AppError("WSGI's input and write() block, and were called in the thread of the server's event loop")


class Errands:
    """What threads wait for the event loop to do for one request: children of a nursery, which end with it."""

    def __init__(self, nursery: anyio.abc.TaskGroup, inbox: LoopInbox) -> None:
        self._nursery = nursery
        self._inbox = inbox
        self._context = copy_context()  # that of the request: who wakes the loop may be another one's thread
        self._waited_for: set[Future[Any]] = set()  # by threads
        self._ended = False
        self.in_progress = 0

    def run(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Wait, in any thread, until the event loop has awaited ``function(*args)``; what that raises is raised here.

        Raises:
            ClientDisconnected: the request has ended, or ends meanwhile.
            AppError: called in the event loop's own thread, which would wait for itself.
        """
        self._inbox.refuse_own_thread()
        future: Future[T] = Future()
        self._waited_for.add(future)
        try:
            if self._ended:  # looked at after the line above: ``end`` tells those that it finds
                raise request_ended()
            self._inbox.tell(partial(self._context.run, self._begin, future, function, args))
            return future.result()
        finally:
            self._waited_for.discard(future)

    def _begin(self, future: Future[T], function: Callable[..., Awaitable[T]], args: tuple[object, ...]) -> None:
        if not self._ended:
            self.in_progress += 1
            self._nursery.start_soon(self._carry_out, future, function, args)

    async def _carry_out(
        self, future: Future[T], function: Callable[..., Awaitable[T]], args: tuple[object, ...]
    ) -> None:
        try:
            result = await function(*args)
            if not future.done():
                future.set_result(result)
        except Exception as exc:
            if not future.done():
                future.set_exception(exc)
        finally:
            self.in_progress -= 1

    def end(self) -> None:
        """The request has ended: nothing begins any more, and who still waits is told."""
        self._ended = True
        self._nursery.cancel_scope.cancel()
        for future in list(self._waited_for):
            if not future.done():
                future.set_exception(request_ended())


def request_ended() -> ClientDisconnected:
    """For threads that go on."""
    return ClientDisconnected("the request has ended: there is nothing more to read, and nobody to write to")
