"""Which backend is running, and its network."""

import sniffio

from trioserve._streams.interface import Network

__all__ = ["open_network", "running_backend"]


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
