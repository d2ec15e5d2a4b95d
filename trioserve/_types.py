"""The ASGI types, written once (ASGI core specification 3.0). Imports nothing of ours."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

CoroutineApp: TypeAlias = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
"""An application whose call is a coroutine, which can be driven step by step."""

DoubleCallable: TypeAlias = Callable[[Scope], Callable[[Receive, Send], Awaitable[None]]]
WsgiApplication: TypeAlias = Callable[[dict[str, Any], Any], Iterable[bytes]]
AppOpener: TypeAlias = (
    Callable[[], AbstractAsyncContextManager[Any]] | Callable[[], AsyncIterator[Any]]
    | AbstractAsyncContextManager[Any]
)
"""An async context manager that yields an application, or a function that makes one or the generator of one."""

AnyApp: TypeAlias = App | DoubleCallable | WsgiApplication | AppOpener
"""What can be served: an application of ASGI 3, ASGI 2 or WSGI (PEP 3333), or what opens one."""

Fields: TypeAlias = list[tuple[bytes, bytes]]
"""Field lines of one head: (lower-case name, value), in the order of the wire, never joined."""
