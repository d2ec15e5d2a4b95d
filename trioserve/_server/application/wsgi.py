"""A WSGI application (PEP 3333) as an ASGI one: each call runs in a thread, on either backend.

What threads and event loop have to say to each other is what such a bridge costs. A request whose body came with its
head is handed over to a thread, which hands back a response of one block, and that is all. Other bodies are received
as the application reads; what it writes is sent while it goes on, and a slow client makes it wait. It may read and
write in other threads than that of its call: ``async def`` views of Flask and Django do.
"""

import threading
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import IO, Any, TypeAlias

import anyio

from trioserve._errors import AppError
from trioserve._server.application.thread_calls import Errands, LoopInbox
from trioserve._server.application.thread_pool import ThreadPool
from trioserve._server.application.wsgi_environ import environ_of
from trioserve._server.application.wsgi_input import body_so_far, input_file
from trioserve._server.application.wsgi_outbox import Outbox
from trioserve._streams import caller_from_threads
from trioserve._types import Message, Receive, Scope, Send

__all__ = ["WsgiApp", "threads_at_work"]

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]


class WsgiApp:
    """ASGI 3 in front of WSGI. There is no lifespan, as WSGI knows none."""

    def __init__(self, app: Any, threads: int) -> None:
        self._app = app
        self._threads = ThreadPool(threads)
        self._inbox: LoopInbox | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. When it is cancelled, the thread is left to itself until it next reads or writes.

        A WebSocket is refused, by returning.

        Raises:
            NotImplementedError: the scope is neither.
        """
        if scope["type"] == "websocket":
            return
        if scope["type"] != "http":
            raise NotImplementedError(f"WSGI has no {scope['type']}")
        inbox = self._inbox_of_this_loop()
        so_far = await body_so_far(scope, receive)
        if so_far["more_body"]:
            failure = await self._answer_while_body_comes(scope, receive, send, so_far, inbox)
        else:
            failure = await self._answer(scope, send, input_file(so_far, receive, None), inbox, None)
        try:
            if failure is not None:  # raised here, where no task group wraps it
                raise failure
        finally:
            del failure  # it holds this frame, by its traceback

    async def _answer_while_body_comes(
        self, scope: Scope, receive: Receive, send: Send, so_far: Message, inbox: LoopInbox
    ) -> BaseException | None:
        failure: BaseException | None = None
        async with anyio.create_task_group() as nursery:
            errands = Errands(nursery, inbox)
            try:
                failure = await self._answer(scope, send, input_file(so_far, receive, errands), inbox, errands)
            finally:
                errands.end()
        return failure

    async def _answer(
        self, scope: Scope, send: Send, body: IO[bytes], inbox: LoopInbox, errands: Errands | None
    ) -> BaseException | None:
        """What the application has raised, or what went wrong with its response, is returned."""
        outbox = Outbox(inbox)
        request = _Request(inbox.thread, outbox, errands)
        _open_requests.add(request)
        try:
            call = partial(copy_context().run, _carry_out, self._app, scope, body, outbox)
            is_alone = len(_open_requests) == 1  # so it is not the first of many that have come together
            self._threads.start(call, None if is_alone else inbox.tell)
            return await outbox.deliver(send)
        finally:
            _open_requests.discard(request)
            outbox.end()

    def _inbox_of_this_loop(self) -> LoopInbox:
        caller = caller_from_threads()
        if self._inbox is None or self._inbox.call_from_thread != caller:
            self._inbox = LoopInbox(caller)
        return self._inbox


class _Request:
    """One that has not ended, for who asks whether its thread is at work."""

    def __init__(self, loop_thread: int, outbox: Outbox, errands: Errands | None) -> None:
        self._loop_thread = loop_thread
        self._outbox = outbox
        self._errands = errands

    @property
    def is_waited_for(self) -> bool:
        """The event loop of this thread waits for the application, which does not wait for the loop."""
        reads = self._errands is not None and self._errands.in_progress
        return self._loop_thread == threading.get_ident() and not reads and self._outbox.is_waited_for


_open_requests: set[_Request] = set()


def threads_at_work() -> int:
    """How many threads of applications this thread's event loop waits for. For the virtual clocks of tests."""
    return sum(request.is_waited_for for request in _open_requests)


def _carry_out(app: Any, scope: Scope, body: IO[bytes], outbox: Outbox) -> None:
    """What a thread does for one request."""
    if outbox.ended:  # before its turn came
        return
    raised: BaseException | None = None
    try:
        _respond(app, environ_of(scope, body), outbox)
    except BaseException as exc:
        raised = exc
    try:
        outbox.note_return(raised)
    except OSError:  # the event loop has ended
        pass
    finally:
        del raised  # it holds this frame, by its traceback


def _respond(app: Any, environ: dict[str, Any], outbox: Outbox) -> None:
    """Call the application and send what it returns, block by block.

    The blocks of a list are there already, so none is late when it leaves with the last one.
    """
    response = _Response(outbox)
    blocks: Iterable[bytes] = app(environ, response.start)
    close: Callable[[], object] | None = getattr(blocks, "close", None)
    try:
        more = not _is_one_block(blocks)
        at_once = not isinstance(blocks, list | tuple)
        for block in blocks:
            if block:
                response.write(block, more=more, at_once=at_once)
        if not response.complete:
            response.write(b"", more=False, at_once=False)
        if close is not None:
            outbox.push()  # the response does not wait for what the application does at its end
    finally:
        if close is not None:
            close()


class _Response:
    """The rules of ``start_response`` and ``write``.

    Attributes:
        complete: nothing belongs to it any more.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._start: Message | None = None
        self._started = False  # the head is on its way
        self._body_left: int | None = None  # of a declared content-length
        self.complete = False

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """Keep the head until there is a body, so that an error can still replace it (PEP 3333, start_response)."""
        if exc_info is None and self._start is not None:
            raise AppError("start_response was called twice, the second time without exc_info")
        if exc_info is not None and self._started:
            raise exc_info[1].with_traceback(exc_info[2])
        if status[3:4] not in (" ", ""):  # a reason may be missing
            raise AppError(f"start_response with status {status!r}: three digits and a space are expected")
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        lengths = [int(value) for name, value in fields if name == b"content-length" and value.isdigit()]
        self._body_left = lengths[0] if lengths else None
        self._start = {"type": "http.response.start", "status": int(status[:3]), "headers": fields}
        return self.write

    def write(self, block: bytes, *, more: bool = True, at_once: bool = True) -> None:
        """Send a block, and the head before the first one; with a known length the last block ends the response."""
        if self._start is None:
            raise AppError("the WSGI application sent a body without calling start_response")
        if self._body_left is not None:
            self._body_left -= len(block)
            more = more and self._body_left > 0
        messages = [] if self._started else [self._start]
        messages.append({"type": "http.response.body", "body": block, "more_body": more})
        self._started, self.complete = True, not more
        self._outbox.put(messages, len(block), at_once=at_once)


def _is_one_block(blocks: Iterable[bytes]) -> bool:
    """The first block is the whole body, so its length is known (PEP 3333, "Handling the Content-Length Header")."""
    try:
        return len(blocks) == 1  # type: ignore[arg-type]  # most that have a length are lists
    except (TypeError, AttributeError, NotImplementedError):  # those that wsgiref knows of
        return False
