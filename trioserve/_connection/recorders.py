"""Who is told of what has happened on the connections: the access log, and whoever counts or remembers beside it."""

from collections.abc import Sequence
from typing import Protocol

from trioserve._connection.records import Answered, ClosedWebSocket, RecordedRequest
from trioserve._connection.refused import Refused

__all__ = ["Recorder", "Recorders", "joined"]


class Recorder(Protocol):
    """Takes what has happened, with the time that it took. Called on the hot path.

    Attributes:
        needs_context: code of the application's may look at what is made of it, such as log filters. So ``answered``,
            ``websocket_closed`` and ``ended_early`` are called in the request's context variables.
    """

    @property
    def needs_context(self) -> bool: ...

    def answered(self, answered: Answered, seconds: float) -> None:
        """A request has its response, or will never have one."""

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        """A WebSocket that was accepted has come to its end."""

    def refused(self, refused: Refused) -> None:
        """A request was answered although its head could not be read."""

    def ended_early(self, request: RecordedRequest, reason: str, seconds: float) -> None:
        """Somebody ends the application of a request before its time, perhaps after the response."""


class Recorders:
    """Tells each of several, in their order. What one of them raises keeps only those after it from hearing."""

    needs_context = False  # who needs it is told by ``InContext``

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self._recorders = recorders

    def answered(self, answered: Answered, seconds: float) -> None:
        for recorder in self._recorders:
            recorder.answered(answered, seconds)

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        for recorder in self._recorders:
            recorder.websocket_closed(websocket, seconds)

    def refused(self, refused: Refused) -> None:
        for recorder in self._recorders:
            recorder.refused(refused)

    def ended_early(self, request: RecordedRequest, reason: str, seconds: float) -> None:
        for recorder in self._recorders:
            recorder.ended_early(request, reason, seconds)


class InContext:
    """Tells a recorder that needs it in the request's context variables."""

    needs_context = False  # any more

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def answered(self, answered: Answered, seconds: float) -> None:
        answered.request.run_in_context(self._recorder.answered, answered, seconds)

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        websocket.request.run_in_context(self._recorder.websocket_closed, websocket, seconds)

    def refused(self, refused: Refused) -> None:
        self._recorder.refused(refused)

    def ended_early(self, request: RecordedRequest, reason: str, seconds: float) -> None:
        request.run_in_context(self._recorder.ended_early, request, reason, seconds)


def joined(recorders: Sequence[Recorder]) -> Recorder | None:
    """All of them as one: ``None`` for nobody, and a single one as it is, so that only many cost a loop."""
    told = [InContext(recorder) if recorder.needs_context else recorder for recorder in recorders]
    if not told:
        return None
    return told[0] if len(told) == 1 else Recorders(told)
