"""Test an application on the real server: in memory and in virtual time, or on a real socket in a thread.

What is here is imported when it is first used.
"""

TYPE_CHECKING = False  # a type checker takes it for True; importing typing would be half of the cost of this module

_HOMES = {
    "BackgroundServer": "live_server",
    "ChaosFailed": "chaos_rounds",
    "ChaosReport": "chaos_rounds",
    "MemoryServer": "memory_server",
    "MemoryTransport": "http",
    "RawClient": "raw_client",
    "ServerInThread": "live_server",
    "VirtualClockLoop": "virtual_loop",
    "VirtualTimeStuck": "virtual_loop",
    "WebSocketClient": "websocket_client",
    "WebSocketClosed": "websocket_client",
    "WebSocketRefused": "websocket_client",
    "chaos": "chaos_rounds",
    "clock_is_virtual": "virtual_time",
    "open_test_server": "memory_server",
    "raw_request": "raw_client",
    "run_in_virtual_time": "virtual_time",
    "seconds_passed": "virtual_time",
    "serve_background": "live_server",
    "serve_in_thread": "live_server",
    "settled": "virtual_time",
    "virtual_backend": "virtual_time",
}

__all__ = [
    "BackgroundServer", "ChaosFailed", "ChaosReport", "MemoryServer", "MemoryTransport", "RawClient", "ServerInThread",
    "VirtualClockLoop", "VirtualTimeStuck", "WebSocketClient", "WebSocketClosed", "WebSocketRefused", "chaos",
    "clock_is_virtual", "open_test_server", "raw_request", "run_in_virtual_time", "seconds_passed", "serve_background",
    "serve_in_thread", "settled", "virtual_backend",
]  # fmt: skip

if TYPE_CHECKING:
    from trioserve.testing.chaos_rounds import ChaosFailed, ChaosReport, chaos
    from trioserve.testing.http import MemoryTransport
    from trioserve.testing.live_server import BackgroundServer, ServerInThread, serve_background, serve_in_thread
    from trioserve.testing.memory_server import MemoryServer, open_test_server
    from trioserve.testing.raw_client import RawClient, raw_request
    from trioserve.testing.virtual_loop import VirtualClockLoop, VirtualTimeStuck
    from trioserve.testing.virtual_time import (
        clock_is_virtual,
        run_in_virtual_time,
        seconds_passed,
        settled,
        virtual_backend,
    )
    from trioserve.testing.websocket_client import WebSocketClient, WebSocketClosed, WebSocketRefused
else:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value

    def __dir__() -> list[str]:
        return sorted(globals().keys() | _HOMES.keys())
