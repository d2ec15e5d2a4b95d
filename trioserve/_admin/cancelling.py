"""Cancels what has an id in the tree, if it can be cancelled by itself."""

import logging
from dataclasses import dataclass
from typing import Any, Final

from trioserve._admin.handles import Handle
from trioserve._admin.scopes import as_scope, entered_scopes
from trioserve._admin.tree import Tree
from trioserve._complaints import complain
from trioserve._connection import RequestLook

__all__ = ["GONE", "CancelAnswer", "cancel"]

log = logging.getLogger("trioserve")

REASON: Final = "admin"


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """What ``POST /cancel`` answers: a status and a JSON object, see docs/reference/tree.md."""

    status: int
    body: dict[str, Any]


GONE: Final = CancelAnswer(404, {"error": "there is no such node any more"})


def cancel(tree: Tree, id: str) -> CancelAnswer:
    """Cancel the node ``id`` of this process. To be called in the server's event loop."""
    found = tree.handles.find(id)
    if found is None:
        return GONE
    handle, shown = found
    if handle.kind == "connection":
        return _cancel_connection(tree, handle, shown)
    if handle.kind in ("request", "stream", "websocket"):
        return _cancel_request(tree, handle, shown)
    if handle.kind == "task" and not hasattr(shown, "cancel"):
        own = ", or a cancel scope of its own" if entered_scopes(shown.coro) else ""
        return _refused(f"trio cancels nurseries and cancel scopes, not tasks: cancel the nursery that it is in{own}")
    if not handle.is_cancellable:
        return _refused(f"this {handle.kind} belongs to no request: it ends with the server")
    if handle.kind == "task":
        shown.cancel()
    else:
        scope = shown.cancel_scope if handle.kind == "nursery" else as_scope(shown)
        scope.cancel(reason=REASON)
    return _done(handle)


def _cancel_connection(tree: Tree, handle: Handle, connection: Any) -> CancelAnswer:
    if connection not in tree.connections:
        return GONE
    connection.cancel(REASON)
    return _done(handle)


def _cancel_request(tree: Tree, handle: Handle, request: Any) -> CancelAnswer:
    look = _look_of(tree, request)
    if look is None:
        return GONE
    if request.end_reason:
        return _refused(f"it has been ended already ({request.end_reason})")
    if look.cancel is None:
        return _refused("its answer is complete, and what goes on belongs to its connection: cancel that")
    look.cancel(REASON)
    return _done(handle)


def _look_of(tree: Tree, request: Any) -> RequestLook | None:
    for connection in tree.connections:
        for look in connection.look().requests:
            if look.request is request:
                return look
    return None


def _done(handle: Handle) -> CancelAnswer:
    complain(log, "%s: cancelled the %s %s", REASON, handle.kind, handle.name, level=logging.WARNING)
    return CancelAnswer(200, {"id": handle.id, "kind": handle.kind, "name": handle.name})


def _refused(why: str) -> CancelAnswer:
    return CancelAnswer(409, {"error": why})
