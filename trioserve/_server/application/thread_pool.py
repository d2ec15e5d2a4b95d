"""Threads that carry out calls which may block, whatever event loop asks for them."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, current_thread
from typing import Final, TypeAlias

from trioserve._threads import OURS, start_thread

__all__ = ["ThreadPool"]

IDLE_SECONDS: Final = 10.0  # until a thread that has nothing to do ends, as trio's do
AT_WORK: Final = f"{OURS} WSGI"  # the name of a thread while it runs what is the application's

Call: TypeAlias = Callable[[], object]


class ThreadPool:
    """Takes calls in the order in which they come, and has at most ``limit`` of them carried out at a time.

    One thread is woken at a time. It wakes the next one when it finds more than one call, and takes the next call
    itself when it is done with its own. So calls that never wait share a wake-up, and those that wait hold up nobody.
    To have a wake-up for each costs 10 us of 60 on trio ("hello", 16 clients), most of it for the interpreter's lock.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = Lock()  # guards the rest
        self._calls: deque[Call] = deque()
        self._asleep: list[Lock] = []  # what each of them sleeps on; who fell asleep last is woken first
        self._threads = 0
        self._is_waking = False  # one was woken or begun, and has not come to look for a call

    def start(self, call: Call, later: Callable[[Call], object] | None = None) -> None:
        """Have ``call`` carried out; it must not raise.

        ``later`` calls a function when the event loop has done what it has to do now. With it threads are woken then:
        else one would fight for the interpreter's lock while the loop still receives the next requests.

        Raises:
            RuntimeError: there is no thread, and the system has none.
        """
        with self._lock:
            self._calls.append(call)
            if later is None or not self._threads:
                self._wake_one()
                return
        later(self._wake)

    def _wake(self) -> None:
        with self._lock, suppress(RuntimeError):  # all threads have ended meanwhile: the next call tries it again
            if self._calls:
                self._wake_one()

    def _wake_one(self) -> None:
        if self._is_waking:
            return
        if self._asleep:
            self._is_waking = True
            self._asleep.pop().release()
        elif self._threads < self._limit:
            try:
                start_thread(self._work)
            except RuntimeError:  # the system has no more
                if not self._threads:
                    raise
                return  # those that are there take the calls
            self._is_waking = True
            self._threads += 1

    def _work(self) -> None:
        """A thread: until there has been nothing to do for a while."""
        bell = Lock()
        bell.acquire()
        thread = current_thread()
        call = self._next_call(bell, woken=True)
        while call is not None or self._sleep(bell):
            if call is not None:
                thread.name = AT_WORK
                call()
                thread.name = OURS
            call = self._next_call(bell, woken=call is None)

    def _next_call(self, bell: Lock, *, woken: bool) -> Call | None:
        """With ``None`` the thread is asleep, for the others."""
        with self._lock:
            if woken:
                self._is_waking = False
            if not self._calls:
                self._asleep.append(bell)
                return None
            call = self._calls.popleft()
            if woken and self._calls:
                self._wake_one()
            return call

    def _sleep(self, bell: Lock) -> bool:
        """Wait to be woken; false when that was in vain, and the thread is to end."""
        if bell.acquire(timeout=IDLE_SECONDS):
            return True
        with self._lock:
            if bell in self._asleep:
                self._asleep.remove(bell)
                self._threads -= 1
                return False
        return bell.acquire()  # it was woken in this very moment
