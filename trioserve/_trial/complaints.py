"""What Python and the event loops say on the side: of coroutines that nobody awaited, exceptions that nobody read."""

import gc
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from trioserve._trial.findings import Finding
from trioserve._trial.places import is_own_file, own_place_of_error, place_of_error, seen_from_here

__all__ = ["Overheard", "overhear"]

ORIGIN_CALLS: Final = 20  # that are kept of where a coroutine was made

_ADDRESS = re.compile(r"( at)? 0x[0-9a-f]+")
_CALL = re.compile(r'^ *File "(.+)", line (\d+), in (.+)$', re.MULTILINE)
_OF_FRAMEWORKS: Final = (
    "was garbage collected before it had been exhausted",  # an asynchronous generator: trio mends it
    "tempfile.SpooledTemporaryFile",  # a request body that was not read: in memory, as long as it is small
)


class Overheard(logging.Handler):
    """Complaints as ``findings``, each once. What a library does all by itself is not among them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.findings: list[Finding] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Asyncio logs what nobody else has heard: tasks whose exceptions were never retrieved."""
        text, exc = record.getMessage().splitlines()[0], record.exc_info[1] if record.exc_info else None
        if exc is None:
            self.add(text)
        elif where := own_place_of_error(exc):
            self.add(f"{text}: {type(exc).__name__}: {exc}", where)

    def hear_of_coroutine(self, text: str) -> None:
        """Python says which coroutine nobody has awaited, and then the calls that have made it, the last one last."""
        first, _, origin = text.partition("\n")
        own = [
            seen_from_here(f"{file}:{line} ({function})") for file, line, function in _CALL.findall(origin)
            if is_own_file(file)]
        if own or not origin:
            self.add(first, own[-1] if own else "")

    def add(self, text: str, where: str = "") -> None:
        finding = Finding("warning", _ADDRESS.sub("", text), where)
        if finding not in self.findings:
            self.findings.append(finding)


@contextmanager
def overhear() -> Iterator[Overheard]:
    """Collect complaints during the block, those of garbage that is left at its end included."""
    overheard = Overheard()

    def on_warning(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        text = str(message)
        if any(words in text for words in _OF_FRAMEWORKS):
            return
        if "never awaited" in text:
            overheard.hear_of_coroutine(text)
        elif issubclass(category, ResourceWarning):
            overheard.add(text)
        else:
            shown(message, category, *args, **kwargs)

    def on_unraisable(unraisable: Any) -> None:
        text, exc = unraisable.err_msg or "an exception that nobody could be told of", unraisable.exc_value
        overheard.add(f"{text}: {type(exc).__name__}: {exc}", place_of_error(exc))

    asyncio_log = logging.getLogger("asyncio")
    before = sys.unraisablehook
    depth_before = sys.get_coroutine_origin_tracking_depth()
    asyncio_log.addHandler(overheard)
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=ResourceWarning)
        warnings.filterwarnings("always", message=".*never awaited", category=RuntimeWarning)
        shown, warnings.showwarning = warnings.showwarning, on_warning
        sys.unraisablehook = on_unraisable
        sys.set_coroutine_origin_tracking_depth(ORIGIN_CALLS)
        try:
            yield overheard
            gc.collect()
        finally:
            sys.set_coroutine_origin_tracking_depth(depth_before)
            sys.unraisablehook = before
            asyncio_log.removeHandler(overheard)
