"""Whether a task can take its first step while it is made, before anybody else runs (Python 3.12, "eager tasks").

Most applications end in that step. Then the event loop has nothing to do with the task.
"""

import sys
from typing import Final

__all__ = ["CAN_BEGIN_AT_ONCE"]

CAN_BEGIN_AT_ONCE: Final = sys.version_info >= (3, 12)
