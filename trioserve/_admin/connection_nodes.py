"""A connection with its requests as nodes."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from trioserve._admin.drawing import Drawing, Node
from trioserve._admin.marks import MARK
from trioserve._admin.task_nodes import add_stack, add_started, add_tasks, take_host, task_node
from trioserve._config.addresses import HostPort
from trioserve._connection import Look, Mark, RequestLook, Served
from trioserve._streams import Address, CancellableNursery, TaskView, TaskViews, is_tls

__all__ = ["BUSY", "connection_node", "contains", "mark_of", "nurseries_of", "shown_client"]

BUSY: Final = ("APP", "AFTER")  # phases in which there are requests


def shown_client(address: Address | None) -> str:
    """A client by its address; on a unix socket it has none."""
    if address is None:
        return "unix socket"
    host, port = address
    return host if port is None else str(HostPort(host, port))


def nurseries_of(connections: Iterable[Served]) -> list[CancellableNursery]:
    """Of those that have begun and not ended."""
    return [nursery for connection in connections if (nursery := connection.nursery) is not None]


def mark_of(request: RequestLook) -> Mark | None:
    """The mark of its call of the application, if calls are marked."""
    context = request.request.context
    return context.get(MARK) if context is not None else None


def contains(connection: Served, text: str) -> bool:
    """``text``, in lower case, occurs in what is shown of the connection."""
    words = [shown_client(connection.peer), connection.phase]
    if connection.phase in BUSY:
        for shown in connection.look().requests:
            words += [shown.request.masked_line, shown.request.id() or "", shown.request.end_reason]
    return any(text in word.lower() for word in words)


def connection_node(drawing: Drawing, connection: Served, tasks: TaskViews) -> Node:
    """With its requests, and the tasks that it has beside those that run them."""
    look = connection.look()
    node = drawing.node(
        connection, "connection", shown_client(look.stream.peer),
        cancellable=True,
        state=look.phase,
        detail=_protocol(look),
        bytes=_traffic(look.stream.wire_bytes()),
        deadline=drawing.deadline_of(look.awaited),
        cancelled=look.nursery is not None and look.nursery.cancel_called,
    )
    node["age"] = round(look.age, 3)
    free = list(tasks.of(look.nursery)) if look.nursery is not None else []
    hosts = {id(request): take_host(free, request.request.coro) for request in look.requests}
    drawing.add_children(
        node, look.requests, lambda request: _request_node(drawing, request, hosts[id(request)], tasks))
    add_tasks(drawing, node, [task for task in free if not _only_waits(task)], cancellable=False)
    return node


def _request_node(drawing: Drawing, shown: RequestLook, host: TaskView | None, tasks: TaskViews) -> Node:
    request = shown.request
    node = drawing.node(
        request, shown.kind, request.masked_line,
        cancellable=shown.cancel is not None and not request.end_reason,
        state="APP" if shown.in_progress else "AFTER",
        detail=shown.detail,
        bytes=_traffic(shown.traffic),
        request_id=request.id(),
        deadline=drawing.deadline_of(shown.awaited),
        cancelled=bool(request.end_reason),
        reason=request.end_reason,
    )
    node["age"] = round(request.age, 3)
    if request.coro is None:
        return node
    add_stack(drawing, node, request.coro)
    known: set[object] = set()
    if host is not None:
        add_started(drawing, node, host, request.coro, cancellable=True)
        known = {child.key for child in host.children()}
    if (mark := mark_of(shown)) is not None:
        started = [task for task in tasks.marked(mark) if task.key not in known]
        drawing.add_children(
            node, drawing.in_order(started), lambda task: task_node(drawing, task, cancellable=True),
            first=len(node.get("children", ())))
    return node


def _only_waits(task: TaskView) -> bool:
    """It holds its connection, which the connection's own line says already."""
    return task.name.endswith((".hold", "._hold_again", "trioserve connection"))


def _protocol(look: Look) -> str:
    if not look.version:
        return "TLS" if is_tls(look.stream) else ""
    return f"HTTP/{look.version}" + (" over TLS" if is_tls(look.stream) else "")


def _traffic(traffic: Sequence[int] | None) -> dict[str, Any] | None:
    return {"received": traffic[0], "sent": traffic[1]} if traffic is not None else None
