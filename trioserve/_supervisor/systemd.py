"""Tells systemd how the service is: started, reloading, alive, stopping (sd_notify(3)).

systemd names a socket in the environment when it wants to know; elsewhere nothing here is imported.
"""

import logging
import math
import os
import socket
import time
from collections.abc import Callable

import anyio

__all__ = ["Notifier"]

log = logging.getLogger("trioserve")


class Notifier:
    """Speaks to the service manager.

    Attributes:
        watchdog_seconds: how often at least it wants to hear that the service is alive; ``math.inf`` for never.
    """

    def __init__(self, address: str, watchdog_seconds: float = math.inf) -> None:
        """``address`` as in ``NOTIFY_SOCKET``: a path, or a name in the abstract namespace that begins with ``@``."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = watchdog_seconds
        self._reloads = 0

    @classmethod
    def from_environment(cls) -> "Notifier | None":
        """The manager that started this process, if one did and asks to be told."""
        address = os.environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return None
        return cls(address, _watchdog_seconds())

    def ready(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def begin_reload(self) -> None:
        """Until as many calls of ``end_reload`` have followed."""
        self._reloads += 1
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def end_reload(self) -> None:
        self._reloads -= 1
        if not self._reloads:
            self.ready()

    async def keep_watchdog(self, is_alive: Callable[[], bool]) -> None:
        """Until cancelled, and as long as ``is_alive()``: two signs of life in the time that one is due."""
        if self.watchdog_seconds == math.inf:
            return
        while True:
            if is_alive():
                self._send("WATCHDOG=1")
            await anyio.sleep(self.watchdog_seconds / 2)

    def _send(self, text: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto(text.encode(), self._address)
            except OSError as exc:  # the server serves, whether the manager knows it or not
                log.warning("systemd could not be told %s: %s", text.partition("\n")[0], exc)


def _watchdog_seconds() -> float:
    """The watchdog's time, if it is this process that it watches (sd_watchdog_enabled(3))."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or int(microseconds) == 0 or (pid and pid != str(os.getpid())):
        return math.inf
    return int(microseconds) / 1e6
