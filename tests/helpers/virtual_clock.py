"""The virtual clocks of ``trioserve.testing``."""

from trioserve.testing.virtual_loop import VirtualClockLoop
from trioserve.testing.virtual_time import Backend, clock_is_virtual, settled, virtual_backend

__all__ = ["Backend", "VirtualClockLoop", "clock_is_virtual", "settled", "virtual_backend"]
