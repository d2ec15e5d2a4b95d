"""The order in which trio runs tasks that are ready at the same time. Trio takes a random one, on purpose."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio._core._run as trio_run

__all__ = ["ordered_by"]

SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"


@contextmanager
def ordered_by(seed: str) -> Iterator[None]:
    """Until the end of the block the order follows from ``seed``. Hypothesis and pytest-trio do it in the same way."""
    state, was_deterministic = trio_run._r.getstate(), vars(trio_run)[SWITCH]
    trio_run._r.seed(seed)
    vars(trio_run)[SWITCH] = True
    try:
        yield
    finally:
        trio_run._r.setstate(state)
        vars(trio_run)[SWITCH] = was_deterministic
