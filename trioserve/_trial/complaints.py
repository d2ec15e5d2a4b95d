"""What Python and the event loops say on the side: of coroutines that nobody awaited, exceptions that nobody read."""

import gc
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trioserve._trial.findings import Finding
from trioserve._trial.places import place_of_error

__all__ = ["Overheard", "overhear"]

_ADDRESS = re.compile(r"( at)? 0x[0-9a-f]+")


class Overheard(logging.Handler):
    """Complaints as ``findings``, each once."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.findings: list[Finding] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Asyncio logs what nobody else has heard: tasks whose exceptions were never retrieved."""
        exc = record.exc_info[1] if record.exc_info else None
        self.add(record.getMessage().splitlines()[0], exc)

    def add(self, text: str, exc: BaseException | None = None) -> None:
        if exc is not None:
            text = f"{text}: {type(exc).__name__}: {exc}"
        finding = Finding("warning", _ADDRESS.sub("", text), place_of_error(exc) if exc is not None else "")
        if finding not in self.findings:
            self.findings.append(finding)


@contextmanager
def overhear() -> Iterator[Overheard]:
    """Collect complaints during the block, those of garbage that is left at its end included."""
    overheard = Overheard()

    def on_warning(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if "was garbage collected before it had been exhausted" in str(message):
            return  # an asynchronous generator: trio mends it, and it is mostly a framework's
        if issubclass(category, ResourceWarning) or "never awaited" in str(message):
            overheard.add(str(message))
        else:
            shown(message, category, *args, **kwargs)

    def on_unraisable(unraisable: Any) -> None:
        overheard.add(unraisable.err_msg or "an exception that nobody could be told of", unraisable.exc_value)

    asyncio_log = logging.getLogger("asyncio")
    before = sys.unraisablehook
    asyncio_log.addHandler(overheard)
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=ResourceWarning)
        warnings.filterwarnings("always", message=".*never awaited", category=RuntimeWarning)
        shown, warnings.showwarning = warnings.showwarning, on_warning
        sys.unraisablehook = on_unraisable
        try:
            yield overheard
            gc.collect()
        finally:
            sys.unraisablehook = before
            asyncio_log.removeHandler(overheard)
