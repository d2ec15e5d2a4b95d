"""Sends the requests of a trial to the application, in real time, and notes what came back."""

from typing import Final

import anyio

from trioserve._check.observed import Observed
from trioserve._check.outcome import Outcome
from trioserve._check.standstills import Standstills, watched
from trioserve._errors import AppError
from trioserve._streams import Network
from trioserve._trial import Answer, Finding, TrialRequest, place_of_error
from trioserve.testing import MemoryServer
from trioserve.testing.asking import ask

__all__ = ["TrialClient"]

PATIENCE_SECONDS: Final = 10.0  # in which a request that works is answered
LAST_SECONDS: Final = 1.0  # in which an application that has answered may fail after all
SILENCE_SECONDS: Final = 0.5  # after which a WebSocket has said what it has to say


class TrialClient:
    """Of one server.

    Args:
        warn_blocked: seconds for which the event loop of ``network`` may stand still; ``None``: nobody looks.
    """

    def __init__(self, server: MemoryServer, observed: Observed, network: Network, warn_blocked: float | None) -> None:
        self._server = server
        self._observed = observed
        self._network = network
        self._warn_blocked = warn_blocked

    async def try_request(self, request: TrialRequest, outcome: Outcome) -> None:
        """Send it, and note its answer and what is wrong with it. Sent again if the event loop has stood still."""
        answer, stood = await self._send(request)
        self._note(request, answer, outcome)
        if stood.places:
            _, stood_again = await self._send(request)
            outcome.findings += stood_again.findings(str(request), stood)

    async def _send(self, request: TrialRequest) -> tuple[Answer, Standstills]:
        answer = Answer()
        client = self._server.connect()
        self._observed.begin(str(request))
        with watched(self._network, self._warn_blocked) as stood:
            with anyio.move_on_after(PATIENCE_SECONDS):
                await ask(client, request, answer, silence=SILENCE_SECONDS)
            if answer.complete:
                with anyio.move_on_after(LAST_SECONDS):
                    await self._observed.ended.wait()
        client.reset()
        return answer, stood

    def _note(self, request: TrialRequest, answer: Answer, outcome: Outcome) -> None:
        error = self._observed.error
        outcome.answers[str(request)] = str(answer)
        if answer.fails:
            outcome.failed[str(request)] = _words(error)
        if isinstance(error, AppError) or not (answer.fails or error):
            return  # there is nothing to say, or it has been noted as what it is
        text = f"it is answered by {answer}" + ("" if answer.fails else ", and then it fails")
        where = place_of_error(error) if error is not None else ""
        outcome.findings.append(Finding(
            "answer", ": ".join(filter(None, (text, _words(error)))), where, request=str(request)))


def _words(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}" if error is not None else ""
