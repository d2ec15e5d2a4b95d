"""What applications find in ``scope["extensions"]`` besides ASGI's own: types, and functions that look it up.

Other servers do not offer these extensions. An application that runs anywhere looks for the name first:
``"trioserve.request" in scope.get("extensions", {})``. Nothing here imports a framework, nor the server.
"""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from inspect import Parameter, Signature
from typing import Any, Generic, NamedTuple, Protocol, TypedDict, TypeVar, cast

__all__ = [
    "BackgroundTask", "ExtensionMissing", "Extensions", "RequestExtension", "RequestIdExtension", "RequestScope",
    "ShutdownExtension", "StartTask", "Tasks", "TasksExtension", "TimeoutRequestExtension", "background_tasks",
    "request_of", "request_scope", "tasks_of",
]  # fmt: skip


class ExtensionMissing(LookupError):
    """The server offers no such extension: it is another one, or the extension is switched off."""


class RequestScope(Protocol):
    """One request in the hands of its application.

    It belongs to the event loop of the request: call it in its tasks, not in threads. When the response is complete the
    request has ended, and its deadline and ``cancel`` do nothing any more. A WebSocket is a request twice: its
    handshake, until it is accepted, then what follows, until it is closed, which has no deadline unless one is set.
    """

    deadline: float
    """When the request's time is over, in seconds on the event loop's clock, ``anyio.current_time()``.

    At first it is that of ``--timeout-request`` or of ``--deadline-header``; ``math.inf`` without either, or when the
    request has ended. When it comes, the application is cancelled. The client gets 504 if nothing was sent yet, of a
    WebSocket the close code 1001. It can be set, also to later than ``--timeout-request`` allows, and to ``math.inf``.
    Setting it to NaN raises ValueError.
    """

    def extend(self, seconds: float) -> None:
        """Move the deadline, if there is one. Raises ValueError if ``seconds`` is negative or NaN."""

    def cancel(self, reason: str) -> None:
        """End the request now: the application is cancelled where it waits next, and ``reason`` is in the log.

        The client gets 503 if nothing was sent yet, of a WebSocket the close code 1001. A response that has begun is
        cut short. The first reason for an end is kept; a second one does nothing.

        Raises:
            ValueError: ``reason`` is empty, longer than 100 characters, or cannot be printed in a line of the log.
        """

    def shielded(self) -> AbstractContextManager[None]:
        """A block that comes to its end although the request is cancelled: its client leaves, its time is over.

        ``with request.shielded(): ...``, before the response or after it. When the block has ended the cancellation
        follows. The shutdown of the server waits for the block until the deadline of requests; then it is cancelled.
        """


class BackgroundTask(Protocol):
    """A task that the server owns.

    Attributes:
        name: for the log.
        age: seconds since it was started.
    """

    @property
    def name(self) -> str: ...
    @property
    def age(self) -> float: ...

    def cancel(self) -> None:
        """End it; when it has ended already, do nothing. Call it in the event loop of the server."""


class StartTask(Protocol):
    """Starts work that outlives the request, or the part of the lifespan, that asks for it."""

    def __call__(
        self, function: Callable[..., Coroutine[Any, Any, object]], *args: Any, name: str | None = None
    ) -> BackgroundTask:
        """Call ``function(*args)`` in a task of the server's nursery, in a copy of the caller's context variables.

        ``name`` is the function's own if none is given. A shutdown waits for the task as it does for requests, and
        cancels it at their deadline; the lifespan ends after it. An exception in the task stops the server.

        Raises:
            TypeError: ``function`` is not an async function, or does not take these arguments.
            RuntimeError: the server has stopped.
        """


class Tasks(NamedTuple):
    """The extension ``trioserve.tasks`` with attributes for its keys."""

    start: StartTask
    running: Callable[[], list[BackgroundTask]]
    """Tasks that have not ended, the oldest first."""


class RequestExtension(TypedDict):
    """``trioserve.request``, in the scopes of requests and WebSockets."""

    get: Callable[[], RequestScope]


class TasksExtension(TypedDict):
    """``trioserve.tasks``, in the scopes of requests, WebSockets and the lifespan."""

    start: StartTask
    running: Callable[[], list[BackgroundTask]]


class ShutdownExtension(TypedDict):
    """``trioserve.shutdown``, in the scopes of requests, WebSockets and the lifespan."""

    wait: Callable[[], Coroutine[Any, Any, None]]
    """Returns when the server begins to stop."""


class RequestIdExtension(TypedDict):
    """``trioserve.request_id``, unless requests have no names."""

    get: Callable[[], str]


class TimeoutRequestExtension(TypedDict):
    """``trioserve.timeout_request``, with ``--timeout-request``."""

    restart: Callable[[], None]


Extensions = TypedDict(
    "Extensions",
    {
        "trioserve.request": RequestExtension,
        "trioserve.tasks": TasksExtension,
        "trioserve.shutdown": ShutdownExtension,
        "trioserve.request_id": RequestIdExtension,
        "trioserve.timeout_request": TimeoutRequestExtension,
    },
    total=False,
)
"""``scope["extensions"]``, as far as it is ours."""

T_co = TypeVar("T_co", covariant=True)


def request_of(source: Any) -> RequestScope:
    """The request of an ASGI scope, or of an object with a ``scope``, such as Starlette's ``Request``.

    Raises:
        ExtensionMissing: the server does not offer ``trioserve.request``.
        TypeError: ``source`` is neither.
    """
    return cast("RequestScope", _extension_of(source, "trioserve.request")["get"]())


def tasks_of(source: Any) -> Tasks:
    """The tasks of the server that has made an ASGI scope, or an object with a ``scope``.

    Raises:
        ExtensionMissing: the server does not offer ``trioserve.tasks``.
        TypeError: ``source`` is neither.
    """
    return Tasks(**_extension_of(source, "trioserve.tasks"))


def _extension_of(source: Any, name: str) -> dict[str, Any]:
    scope = source if isinstance(source, Mapping) else getattr(source, "scope", None)
    if not isinstance(scope, Mapping):
        raise TypeError(f"{source!r:.100} is neither an ASGI scope nor an object that has one, such as a Request")
    extension: dict[str, Any] | None = (scope.get("extensions") or {}).get(name)
    if extension is None:
        raise ExtensionMissing(
            f"the server does not offer the extension {name!r}: serve the application with trioserve, or look for the "
            "name in scope['extensions'] before")
    return extension


class _Dependency(Generic[T_co]):
    """What FastAPI calls for ``Depends(...)``: in the event loop, because ``__call__`` is async.

    FastAPI looks at the signature for what it has to pass. That names a class of Starlette's, which is imported then.
    """

    def __init__(self, look_up: Callable[[Any], T_co], doc: str) -> None:
        self._look_up = look_up
        self.__doc__ = doc

    async def __call__(self, connection: Any) -> T_co:
        return self._look_up(connection)

    @property
    def __signature__(self) -> Signature:
        from starlette.requests import HTTPConnection

        return Signature([Parameter("connection", Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection)])


request_scope = _Dependency(request_of, "``Depends(request_scope)``: FastAPI passes the ``RequestScope``.")
background_tasks = _Dependency(tasks_of, "``Depends(background_tasks)``: FastAPI passes the ``Tasks``.")
