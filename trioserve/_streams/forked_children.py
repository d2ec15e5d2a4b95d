"""Whether this process has forked. Then a child may have every socket of the server, too, until it ends or executes.

To be prepared for that costs a system call or two at the end of each connection: 2 of 47 us (connection_per_request).
"""

import os
from typing import Final

__all__ = ["FORKED_CHILDREN"]


class ForkedChildren:
    """Of this process.

    Attributes:
        may_live: one has been forked. Who forks past Python is not seen.
    """

    __slots__ = ("may_live",)

    def __init__(self) -> None:
        self.may_live = False

    def note_fork(self) -> None:
        self.may_live = True


FORKED_CHILDREN: Final = ForkedChildren()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=FORKED_CHILDREN.note_fork)
