"""The ASGI types, written once (ASGI core specification 3.0). Imports nothing of ours."""

from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

CoroutineApp: TypeAlias = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
"""An application whose call is a coroutine, which can be driven step by step."""

Fields: TypeAlias = list[tuple[bytes, bytes]]
"""Field lines of one head: (lower-case name, value), in the order of the wire, never joined."""
