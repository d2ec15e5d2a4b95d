"""What was found in an application: a kind, what happened, where, and what to do about it. Pure."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

__all__ = ["KINDS", "Finding"]

KINDS: Final[dict[str, str]] = {
    "answer": "Look at the exception, or at what the application logs.",
    "asgi": "Send the messages that the ASGI specification names, in its order and with its types.",
    "backend": "Serve it with --backend of the one it was written for, or use anyio, which runs on both.",
    "blocking": "Run it in a thread, with anyio.to_thread.run_sync, or take an asynchronous library.",
    "cut": "Shield what has to be done: with anyio.CancelScope(shield=True), or anyio.move_on_after(5, shield=True).",
    "endless": "Leave the loop when http.disconnect or websocket.disconnect comes: nothing will come after it.",
    "left-behind": "Start it in a nursery or task group that ends before the application's lifespan does.",
    "lifespan": "Let the exception out, or answer lifespan.startup.failed: a server that cannot work should not start.",
    "overtaken": "Keep what belongs to one request in a local variable, in scope['state'] or in a ContextVar.",
    "silent": "Look for what it waits for: a lock that a cancelled request did not release, or a message that is not "
              "sent.",
    "start": "Look at the exception, or at what the application logs.",
    "state": "Undo in a finally block what the request has changed, or change it in one step at its end.",
    "swallowed": "Let cancellation through: except Exception instead of except BaseException, or end in raise.",
    "unrelated": "Look at what the two requests share: connections, locks, caches, module variables.",
    "warning": "Await the coroutine, or close what was opened.",
}  # fmt: skip
"""Every kind of finding, with the advice for it."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: a key of ``KINDS``.
        text: what happened, one line.
        where: ``file:line (function)``, or empty when nobody can tell.
        request: the one during which it happened, such as ``GET /``; empty for the lifespan and the whole run.
        point: the strike that led to it, such as ``cancel@3``; empty without one.
        backend: ``trio`` or ``asyncio``; empty when it is about both.
        seconds: for which the event loop stood still, if that was seen; it says nothing about what was found.
    """

    kind: str
    text: str
    where: str = ""
    request: str = ""
    point: str = ""
    backend: str = ""
    seconds: float = field(default=0.0, compare=False)

    @property
    def advice(self) -> str:
        return KINDS[self.kind]

    def at(self, *, request: str = "", point: str = "") -> "Finding":
        """The same, of that request and strike."""
        return replace(self, request=request, point=point)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"seconds": round(self.seconds, 3), "advice": self.advice}

    def __str__(self) -> str:
        during = ", ".join(part for part in (self.request, self.point, self.backend) if part)
        return f"{self.kind}: {self.text}" + (f", at {self.where}" if self.where else "") + (
            f" [{during}]" if during else "")
