"""One snapshot while it is made: nodes with their ids, and the bounds on how many there may be."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from trioserve._admin.handles import Handles
from trioserve._admin.view import View
from trioserve._connection import Awaited
from trioserve._streams import TaskView

__all__ = ["MOST_NODES", "Drawing", "Node"]

Node: TypeAlias = dict[str, Any]
"""See docs/reference/tree.md."""

T = TypeVar("T")

MOST_NODES: Final = 2000
LONGEST_NAME: Final = 200  # characters; a request line may be much longer


class Drawing:
    """Makes the nodes of one snapshot.

    Args:
        now: on the event loop's clock.
        most: about so many nodes.
    """

    def __init__(self, view: View, handles: Handles, now: float, most: int = MOST_NODES) -> None:
        self.view = view
        self._handles = handles
        self._now = now
        self._left = most

    def node(self, shown: object, kind: str, name: str, *, cancellable: bool = False, **fields: Any) -> Node:
        """A node for the object ``shown``. Fields that are ``None``, false or empty are left out."""
        self._left -= 1
        name = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
        id = self._handles.id_of(shown, kind, name, is_cancellable=cancellable)
        node: Node = {"id": id, "kind": kind, "name": name}
        if cancellable:
            node["cancellable"] = True
        node.update((field, value) for field, value in fields.items() if value)
        return node

    def in_order(self, tasks: Iterable[TaskView]) -> list[TaskView]:
        """Event loops keep tasks in sets: the order here is the same each time, new ones come last."""
        return sorted(sorted(tasks, key=lambda task: task.name), key=lambda task: self._handles.number_of(task.key))

    def is_selected(self, node: Node) -> bool:
        """It is to have its stack."""
        return bool(node["id"] == self.view.stack)

    def add_children(
        self, node: Node, children: Sequence[T], draw: Callable[[T], Node], *, offset: int = 0, first: int = 0
    ) -> None:
        """Draw as many of ``children`` as there may be; ``first`` nodes are there already. The rest is counted."""
        room = max(0, min(self.view.limit - first, self._left))
        chosen = children[offset:offset + room]
        drawn = [draw(child) for child in chosen]
        if drawn:
            node.setdefault("children", []).extend(drawn)
        if hidden := len(children) - len(drawn):
            node["hidden"] = node.get("hidden", 0) + hidden

    def deadline(self, moment: float, of: str) -> dict[str, Any]:
        return {"seconds": round(moment - self._now, 3), "of": of}

    def deadline_of(self, awaited: Awaited | None) -> dict[str, Any] | None:
        return self.deadline(awaited.deadline, awaited.kind) if awaited is not None else None
