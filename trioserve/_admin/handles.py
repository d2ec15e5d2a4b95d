"""Ids for what is shown: the same object has the same id as long as it lives, and nothing is kept alive for it."""

import os
from dataclasses import dataclass
from itertools import count
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, WeakValueDictionary, ref

__all__ = ["Handle", "Handles"]


@dataclass(slots=True, weakref_slot=True)
class Handle:
    """What an id stands for.

    Attributes:
        kind: of the node.
        name: of the node, as it was shown.
        is_cancellable: it was shown as such.
    """

    id: str
    kind: str
    name: str
    is_cancellable: bool
    reference: ReferenceType[Any]


class Handles:
    """Gives and knows the ids of this process."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._pid = os.getpid()
        self._by_object: WeakKeyDictionary[Any, Handle] = WeakKeyDictionary()
        self._number: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._by_id: WeakValueDictionary[str, Handle] = WeakValueDictionary()

    def number_of(self, shown: Any) -> int:
        """In the order in which objects are shown for the first time."""
        number = self._number.get(shown)
        if number is None:
            number = self._number[shown] = next(self._numbers)
        return number

    def id_of(self, shown: Any, kind: str, name: str, *, is_cancellable: bool = False) -> str:
        """The id of ``shown``, which is given one when it is shown for the first time."""
        handle = self._by_object.get(shown)
        if handle is None:
            handle = Handle(f"{self._pid}-{self.number_of(shown)}", kind, name, is_cancellable, ref(shown))
            self._by_object[shown] = handle
            self._by_id[handle.id] = handle
        else:
            handle.kind, handle.name, handle.is_cancellable = kind, name, is_cancellable
        return handle.id

    def find(self, id: str) -> tuple[Handle, Any] | None:
        """What has this id, and its handle; ``None`` when there is no such object any more."""
        handle = self._by_id.get(id)
        shown = handle.reference() if handle is not None else None
        return None if handle is None or shown is None else (handle, shown)
