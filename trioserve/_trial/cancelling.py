"""Runs a coroutine of the application in a cancel scope of its own, and judges what it makes of being cancelled."""

import ctypes
import sys
from collections.abc import Coroutine
from typing import Any, Final

import anyio

from trioserve._trial.driving import Onlooker, drive
from trioserve._trial.findings import Finding
from trioserve._trial.places import Step, place_of_error, steps_of_wait
from trioserve._trial.verdicts import MARK, Met, is_ours, verdict

__all__ = ["Cancellable"]

GOES_ON_FOR: Final = 1000  # awaits after it was cancelled; then it will never end by itself

_ABANDONED: Final[list[Coroutine[Any, Any, None]]] = []
"""Coroutines that nothing could end."""


def _abandon(coro: Coroutine[Any, Any, None]) -> None:
    """Keep ``coro`` for ever.

    As garbage it would be closed. It catches what closes it, and so would go on, without an event loop and without an
    end. CPython drops what modules refer to when it ends: one reference more belongs to nobody.
    """
    _ABANDONED.append(coro)
    if sys.implementation.name == "cpython":
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(coro))


class Cancellable:
    """One coroutine. It is driven for an onlooker, which tells this object what it is told.

    Attributes:
        error: what it raised, without cancellations.
        findings: what is wrong about its end.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.findings: list[Finding] = []
        self._cancel_scope = anyio.CancelScope()
        self._met: list[Met] = []
        self._coro: Coroutine[Any, Any, None] | None = None
        self._awaits_since = 0

    def cancel(self) -> None:
        self._cancel_scope.cancel(MARK)

    async def run(self, coro: Coroutine[Any, Any, None], onlooker: Onlooker) -> None:
        """Await ``coro``. If it was cancelled here, this returns."""
        ended_with: BaseException | None = None
        self._coro = coro
        try:
            with self._cancel_scope:
                try:
                    await drive(coro, onlooker)
                except BaseException as exc:
                    ended_with = exc
                    raise
        except Exception as exc:
            if not self.gives_up():  # trio notices that scopes of the application's have never been left
                self.error = exc
                raise
        finally:
            self._judge(coro, ended_with)
            ended_with = None  # its traceback knows this frame: a cycle

    def _judge(self, coro: Coroutine[Any, Any, None], ended_with: BaseException | None) -> None:
        if self.gives_up():
            _abandon(coro)
            where = place_of_error(self._met[0].exc) if self._met else ""
            text = f"it was cancelled, and went on for {GOES_ON_FOR} awaits: it would never have ended"
            self.findings.append(Finding("swallowed", text, where))
        else:
            self.findings += verdict(self._met, ended_with)
        self._met.clear()
        self._coro = None

    @property
    def stands_at(self) -> list[Step]:
        """The awaits in which it is suspended, from the outermost on."""
        return steps_of_wait(self._coro)

    # What its onlooker is told.

    def on_suspend(self) -> None:
        if self._cancel_scope.cancel_called:
            self._awaits_since += 1

    def on_resume(self, raised: BaseException | None) -> None:
        if raised is not None and is_ours(raised):
            self._met.append(Met(raised, self.stands_at))

    def gives_up(self) -> bool:
        return self._awaits_since > GOES_ON_FOR
