"""Which backend is running, and its network."""

import sniffio

from trioserve._streams.interface import Network
from trioserve._streams.task_watch import TaskListener, TaskWatch

__all__ = ["open_network", "running_backend", "watch_tasks"]


def running_backend() -> str:
    """``"trio"`` or ``"asyncio"``."""
    return sniffio.current_async_library()


def open_network() -> Network:
    """The network of the running event loop; only that loop's own library is imported."""
    if running_backend() == "trio":
        from trioserve._streams.on_trio import TrioNetwork

        return TrioNetwork()
    from trioserve._streams.on_asyncio import AsyncioNetwork

    return AsyncioNetwork()


def watch_tasks(listener: TaskListener) -> TaskWatch:
    """Lets ``listener`` hear of the tasks of the running event loop, for the length of a block."""
    if running_backend() == "trio":
        from trioserve._streams.on_trio_steps import TrioTaskWatch

        return TrioTaskWatch(listener)
    from trioserve._streams.on_asyncio_steps import AsyncioTaskWatch

    return AsyncioTaskWatch(listener)
