"""Bytes in and out: one folder per backend, the only ones that import trio or asyncio."""

from trioserve._streams.interface import (
    AT_ONCE_BYTES,
    GATHER_BYTES,
    RECEIVE_BYTES,
    Address,
    ByteStream,
    Cancellable,
    CancellableNursery,
    FileOutlet,
    Listener,
    Network,
    Nursery,
    SendObserver,
    TaskFunction,
    WaitingTasks,
)
from trioserve._streams.running import (
    is_in_event_loop,
    look_at_tasks,
    open_network,
    running_backend,
    tasks_are_in_nurseries,
    watch_tasks,
)
from trioserve._streams.sockets import hang_up
from trioserve._streams.task_views import (
    BACKGROUND,
    CONNECTION,
    LIFESPAN,
    NurseryView,
    ScopeView,
    TaskView,
    TaskViews,
)
from trioserve._streams.task_watch import SeenScope, SeenTask, TaskWatch
from trioserve._streams.tls import TlsListener, is_tls, tls_facts
from trioserve._streams.tls_facts import ServerIdentity, TlsFacts

__all__ = [
    "AT_ONCE_BYTES",
    "BACKGROUND",
    "CONNECTION",
    "GATHER_BYTES",
    "LIFESPAN",
    "RECEIVE_BYTES",
    "Address",
    "ByteStream",
    "Cancellable",
    "CancellableNursery",
    "FileOutlet",
    "Listener",
    "Network",
    "Nursery",
    "NurseryView",
    "ScopeView",
    "SeenScope",
    "SeenTask",
    "SendObserver",
    "ServerIdentity",
    "TaskFunction",
    "TaskView",
    "TaskViews",
    "TaskWatch",
    "TlsFacts",
    "TlsListener",
    "WaitingTasks",
    "hang_up",
    "is_in_event_loop",
    "is_tls",
    "look_at_tasks",
    "open_network",
    "running_backend",
    "tasks_are_in_nurseries",
    "tls_facts",
    "watch_tasks",
]  # fmt: skip
