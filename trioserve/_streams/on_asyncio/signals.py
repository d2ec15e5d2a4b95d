"""Signals on asyncio's own event loop, where one can get lost."""

import asyncio
import signal
import sys
from collections import deque
from collections.abc import Iterable
from types import FrameType

__all__ = ["SignalReceiver", "can_lose_signals"]


def can_lose_signals() -> bool:
    """The running event loop is one of asyncio's; uvloop has a pipe for signals alone."""
    return isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)


class SignalReceiver:
    """What ``anyio.open_signal_receiver`` returns, and no signal is lost.

    asyncio learns of a signal from a byte in the pipe by which threads wake it. When a thread has called
    ``call_soon_threadsafe`` a few hundred times while the loop could not read, the pipe is full, and asyncio never
    hears of a signal that comes then. So here Python's own handler says which signal it was; the byte only wakes.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._loop = asyncio.get_running_loop()
        self._numbers = frozenset(numbers)
        self._handled: list[signal.Signals] = []
        self._heard: deque[signal.Signals] = deque()
        self._more = asyncio.Event()

    def __enter__(self) -> "SignalReceiver":
        for number in self._numbers:
            self._loop.add_signal_handler(number, _do_nothing)
            self._handled.append(number)
            signal.signal(number, self._hear)
            if sys.platform != "win32":
                signal.siginterrupt(number, False)  # as asyncio does
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)  # a full one wakes, too
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number in self._handled:
            self._loop.remove_signal_handler(number)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        """A signal handler."""
        self._loop.call_soon_threadsafe(self._deliver, signal.Signals(number))

    def _deliver(self, number: signal.Signals) -> None:
        self._heard.append(number)
        self._more.set()

    def __aiter__(self) -> "SignalReceiver":
        return self

    async def __anext__(self) -> signal.Signals:
        while not self._heard:
            self._more.clear()
            await self._more.wait()
        return self._heard.popleft()


def _do_nothing() -> None:
    """The byte has woken the event loop."""
