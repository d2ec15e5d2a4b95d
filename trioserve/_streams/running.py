"""Which backend is running, its network, and its tasks; only the running event loop's own library is imported."""

import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import anyio
import sniffio

from trioserve._streams.allocation import keep_freed_memory
from trioserve._streams.interface import CancellableNursery, Network, WaitingTasks
from trioserve._streams.task_views import TaskViews
from trioserve._streams.task_watch import TaskListener, TaskWatch

__all__ = [
    "caller_from_threads", "is_in_event_loop", "look_at_tasks", "new_waiting_tasks", "open_network",
    "open_signal_receiver", "running_backend", "tasks_are_in_nurseries", "watch_tasks",
]


def running_backend() -> str:
    """``"trio"`` or ``"asyncio"``."""
    return sniffio.current_async_library()


def is_in_event_loop() -> bool:
    """The caller is called by a task: an event loop runs in this thread already."""
    try:
        sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return False
    return True


def open_network() -> Network:
    """The network of the running event loop."""
    keep_freed_memory()
    if running_backend() == "trio":
        from trioserve._streams.on_trio.network import TrioNetwork

        return TrioNetwork()
    from trioserve._streams.on_asyncio.network import AsyncioNetwork

    return AsyncioNetwork()


def caller_from_threads() -> Callable[[Callable[[], object]], object]:
    """``call_from_thread`` of the running event loop's network; that of the same loop is equal."""
    if running_backend() == "trio":
        from trioserve._streams.on_trio.network import caller_from_threads
    else:
        from trioserve._streams.on_asyncio.network import caller_from_threads
    return caller_from_threads()


def open_signal_receiver(
    *numbers: signal.Signals,
) -> AbstractContextManager[AsyncIterator[signal.Signals]]:
    """As anyio's.

    Raises:
        NotImplementedError: the running event loop knows no signals.
    """
    if running_backend() == "asyncio":
        from trioserve._streams.on_asyncio.signals import SignalReceiver, can_lose_signals

        if can_lose_signals():
            return SignalReceiver(numbers)
    return anyio.open_signal_receiver(*numbers)


def new_waiting_tasks() -> WaitingTasks:
    """As that of the running event loop's network."""
    if running_backend() == "trio":
        from trioserve._streams.on_trio.waiting import TrioWaitingTasks

        return TrioWaitingTasks()
    from trioserve._streams.on_asyncio.waiting import AsyncioWaitingTasks, running_loop

    return AsyncioWaitingTasks(running_loop())


def watch_tasks(listener: TaskListener) -> TaskWatch:
    """Lets ``listener`` hear of the tasks of the running event loop, for the length of a block."""
    if running_backend() == "trio":
        from trioserve._streams.on_trio.steps import TrioTaskWatch

        return TrioTaskWatch(listener)
    from trioserve._streams.on_asyncio.steps import AsyncioTaskWatch

    return AsyncioTaskWatch(listener)


def tasks_are_in_nurseries() -> bool:
    """The running event loop keeps the tree of tasks itself, so that nobody has to mark them."""
    return running_backend() == "trio"


def look_at_tasks(connections: Iterable[CancellableNursery], variable: ContextVar[Any]) -> TaskViews:
    """Of the running event loop. ``connections`` are the nurseries of all connections; ``variable`` marks tasks."""
    if running_backend() == "trio":
        from trioserve._streams.on_trio.tasks import TrioTasks

        return TrioTasks()
    from trioserve._streams.on_asyncio.tasks import AsyncioTasks

    return AsyncioTasks(connections, variable)
