"""What runs on the connections, for the log."""

from collections.abc import Iterable
from typing import Final

import anyio

from trioserve._admin.connection_nodes import connection_node, nurseries_of
from trioserve._admin.drawing import Drawing
from trioserve._admin.handles import Handles
from trioserve._admin.marks import MARK
from trioserve._admin.text import node_lines
from trioserve._admin.view import View
from trioserve._connection import Served
from trioserve._streams import look_at_tasks

__all__ = ["still_running"]

SHOWN: Final = 20  # connections, and children of each node


def still_running(connections: Iterable[Served]) -> list[str]:
    """Connections with requests whose application runs, the oldest first, each with its tasks and where they stand."""
    connections = list(connections)
    tasks = look_at_tasks(nurseries_of(connections), MARK)
    busy = sorted((one for one in connections if one.look().requests), key=lambda one: one.began)
    drawing = Drawing(View(limit=SHOWN), Handles(), anyio.current_time())
    lines = [line for one in busy[:SHOWN] for line in node_lines(connection_node(drawing, one, tasks))]
    return lines + ([f"... {len(busy) - SHOWN:,} more"] if len(busy) > SHOWN else [])
