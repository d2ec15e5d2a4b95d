"""What the threads of one WSGI request have written, on its way to the task that sends it."""

from collections.abc import Sequence
from threading import Condition, Lock
from typing import Final

from trioserve._server.application.thread_calls import LoopInbox, request_ended
from trioserve._streams import new_waiting_tasks
from trioserve._types import Message, Send

__all__ = ["OUTBOX_BYTES", "Outbox"]

OUTBOX_BYTES: Final = 64 * 1024  # under way; with more, who writes waits until the client has taken some
MESSAGE_BYTES: Final = 128  # what a message needs besides its body: tiny parts are bounded, too


class Outbox:
    """Made by the request's task, which delivers it. Threads go on while that happens, or wait when it is full.

    A part leaves at once when nothing is under way, and those that come before the task has looked leave with it. To
    wait for the event loop with each of them costs 70 to 90 us a part (100 parts, 16 clients).
    """

    def __init__(self, inbox: LoopInbox) -> None:
        self._inbox = inbox
        self._task = new_waiting_tasks()
        self._task_waits = False
        self._lock = Lock()  # guards the rest
        self._room: Condition | None = None  # once a thread waits for it: to make one is 1 us of 50
        self._messages: list[Message] = []
        self._bytes = 0  # of them, and of those that are being sent
        self._bytes_taken = 0  # to be sent
        self._is_told = False  # that there is something: the task comes to look, or is busy with what came before
        self._has_returned = False  # the call
        self._ended = False  # for the request's task, whatever threads do
        self._unsent: Exception | None = None  # why nothing more is sent
        self._raised: BaseException | None = None  # by the call, or as ``_unsent`` for nobody has heard of that yet

    # For threads.

    def put(self, messages: Sequence[Message], size: int, *, at_once: bool) -> None:
        """Have messages sent, with bodies of ``size`` bytes; if not ``at_once``, together with what follows soon.

        Raises:
            ClientDisconnected: the request has ended, or what was put before could not be sent.
            AppError: what was put before was wrong; or this is the event loop's own thread.
        """
        self._inbox.refuse_own_thread()
        with self._lock:
            self._check()
            self._messages += messages
            self._bytes += size + MESSAGE_BYTES
        if self._bytes > OUTBOX_BYTES:
            self._wake_loop()
            self._wait_for_room()
        elif at_once:
            self.push()

    def push(self) -> None:
        """Have what was put sent now. Raises ClientDisconnected when the event loop has ended."""
        with self._lock:
            is_told, self._is_told = self._is_told, True
        if not is_told:
            self._inbox.tell(self._task.wake)

    def _wake_loop(self) -> None:
        """As ``push``, but also while the task is busy: a virtual clock goes on when this thread does not work."""
        with self._lock:
            self._is_told = True
        self._inbox.tell(self._task.wake)

    def _wait_for_room(self) -> None:
        with self._lock:
            self._room = self._room or Condition(self._lock)
            while self._bytes > OUTBOX_BYTES and not self._ended:
                self._room.wait()
            self._check()

    def _check(self) -> None:
        if self._ended:
            raise request_ended()
        if self._unsent is not None:
            self._raised = None  # it is the application's to raise it or not
            raise self._unsent

    def note_return(self, raised: BaseException | None) -> None:
        """The call has returned, or has raised; that of a request which has ended interests nobody."""
        with self._lock:
            self._has_returned = True
            self._raised = raised or self._raised
            ended = self._ended
        if not ended:
            self._wake_loop()

    # For the request's task.

    async def deliver(self, send: Send) -> BaseException | None:
        """Send what threads put until the call has returned; what it has raised, or what nobody could be told."""
        while (messages := self._take()) is not None:
            if messages:
                await self._send(messages, send)
            else:
                await self.wait_for_thread()
        raised, self._raised = self._raised, None
        return raised

    async def wait_for_thread(self) -> None:
        """Until there is something to look at."""
        self._task_waits = True
        try:
            while not self._is_told:
                await self._task.wait()
        finally:
            self._task_waits = False

    def _take(self) -> list[Message] | None:
        """What there is to send; with none the task is to wait, with ``None`` nothing comes any more."""
        with self._lock:
            messages, self._messages = self._messages, []
            self._bytes_taken = self._bytes
            if not messages:
                if self._has_returned:
                    return None
                self._is_told = False
            return messages

    async def _send(self, messages: list[Message], send: Send) -> None:
        try:
            for message in messages:
                await send(message)
        except Exception as exc:
            with self._lock:
                self._unsent = self._raised = exc
                self._messages.clear()
                self._bytes_taken = self._bytes
        with self._lock:
            self._bytes -= self._bytes_taken
            if self._room is not None and self._bytes <= OUTBOX_BYTES:
                self._room.notify_all()

    @property
    def is_waited_for(self) -> bool:
        """The call works, and does not wait for the client to take what it has written."""
        return self._task_waits or (self._bytes <= OUTBOX_BYTES and not self._has_returned)

    @property
    def ended(self) -> bool:
        return self._ended

    def end(self) -> None:
        """Nothing is sent any more: who writes is told."""
        with self._lock:
            self._ended = True
            self._raised = self._unsent = None
            self._messages.clear()
            if self._room is not None:
                self._room.notify_all()
