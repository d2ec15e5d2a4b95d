"""Calls that are known to block, made in the event loop's thread.

Python itself reports most of them, as audit events. ``time.sleep`` it reports since 3.13 only, so that is wrapped.
"""

import sys
import threading
import time
from types import FrameType
from typing import Any, Final

from trioserve._trial import Finding, place_of_frame

__all__ = ["BlockingCalls"]

NOTICEABLE_SECONDS: Final = 0.001  # of sleep
WAITS_FOR_THE_PROCESS: Final = ("run", "call", "check_call", "check_output", "getoutput", "getstatusoutput")


class BlockingCalls:
    """Records them while ``listening``; each place once."""

    def __init__(self) -> None:
        self.listening = False
        self.findings: list[Finding] = []
        self._thread = threading.get_ident()
        self._sleep, time.sleep = time.sleep, self._on_sleep
        sys.addaudithook(self._on_event)

    def _on_sleep(self, seconds: Any, /) -> None:
        if seconds >= NOTICEABLE_SECONDS:
            self._note(f"time.sleep({seconds:g})")
        self._sleep(seconds)

    def _on_event(self, event: str, args: tuple[Any, ...]) -> None:
        if self.listening and (what := _blocking(event, args)):
            self._note(what)

    def _note(self, what: str) -> None:
        if not self.listening or threading.get_ident() != self._thread:
            return
        if where := place_of_frame(sys._getframe(1)):
            finding = Finding("blocking", f"{what} stops the event loop, and every other request", where)
            if finding not in self.findings:
                self.findings.append(finding)


def _blocking(event: str, args: tuple[Any, ...]) -> str:
    """What blocks, or an empty string."""
    match event:
        case "socket.connect" if args[0].gettimeout() != 0:
            return f"connecting to {args[1][0] if isinstance(args[1], tuple) else args[1]}"
        case "socket.getaddrinfo" | "socket.gethostbyname":
            return f"looking up the address of {args[0]}"
        case "os.system":
            return "os.system()"
        case "subprocess.Popen" if _is_waited_for(sys._getframe()):
            return "waiting for another process"
        case _:
            return ""


def _is_waited_for(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") == "subprocess" and frame.f_code.co_name in WAITS_FOR_THE_PROCESS:
            return True
        frame = frame.f_back
    return False
