"""Connection scopes from request heads (ASGI core 3.0; HTTP and WebSocket specification 2.5)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from trioserve._asgi.origin import ProxyHeaders, apply_origin
from trioserve._protocol.events import Meaning, RequestHead
from trioserve._protocol.forwarded import Origin

if TYPE_CHECKING:
    from trioserve._types import Fields

__all__ = ["ScopeFactory"]

ASGI_VERSION: Final = "3.0"
HTTP_SPEC_VERSION: Final = "2.5"


class ScopeFactory:
    """Makes the scopes of one connection: what its requests share is looked up once.

    ``tls`` is the extension of that name, for a connection that is protected; each scope gets a copy.
    """

    __slots__ = ("_client", "_last", "_proxies", "_read_origin", "_root_path", "_scheme", "_server", "_state", "_tls")

    def __init__(
        self,
        *,
        scheme: str,
        client: tuple[str, int | None] | None,
        server: tuple[str, int | None] | None,
        root_path: str,
        state: dict[str, Any] | None,
        proxies: ProxyHeaders | None = None,
        tls: dict[str, Any] | None = None,
    ) -> None:
        self._scheme = scheme
        self._client = client
        self._server = server
        self._root_path = root_path
        self._state = state
        self._proxies = proxies
        self._tls = tls
        self._read_origin: Callable[[Fields], Origin] | None = None  # looked for when it is needed first
        self._last: tuple[Meaning, Origin] | None = None

    def origin(self, head: RequestHead) -> Origin | None:
        """What trusted proxies say about a request; ``None`` when there is nothing, or nobody who is believed."""
        if not head.meaning.forwarded or self._proxies is None:
            return None
        if self._last is not None and self._last[0] is head.meaning:  # the same field section
            return self._last[1]
        if self._read_origin is None:
            self._read_origin = self._proxies.reader(self._client, self._server)
            if self._read_origin is None:
                self._proxies = None  # a connection has one peer
                return None
        origin = self._read_origin(head.headers)
        self._last = head.meaning, origin
        return origin

    def client(self, head: RequestHead) -> tuple[str, int | None] | None:
        """Who asks: the peer, or whom trusted proxies name instead."""
        origin = self.origin(head)
        return self._client if origin is None else origin.client

    def http(self, head: RequestHead) -> dict[str, Any]:
        """A fresh scope; whatever the application changes in it stays in this request.

        ``root_path`` is put in front of ``path`` and ``raw_path``, because in ASGI both contain it. ``extensions``
        holds what works on this connection. ``state`` is a shallow copy of the lifespan's, absent without one.
        """
        origin = self.origin(head) if head.meaning.forwarded else None
        root_path = self._root_path if origin is None or origin.prefix is None else origin.prefix
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": ASGI_VERSION, "spec_version": HTTP_SPEC_VERSION},
            "http_version": head.meaning.http_version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": head.method,
            "root_path": root_path,
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query_string,
            "headers": head.headers.copy(),
            "extensions": {},
        }
        if head.meaning.http_version == "1.1":  # trailers need chunks, 103 a client that knows interim responses
            scope["extensions"] = {"http.response.trailers": {}, "http.response.early_hint": {}}
        if self._tls is not None:
            scope["extensions"]["tls"] = self._tls.copy()
        if root_path and head.raw_path != b"*":
            scope["path"] = root_path + head.path
            scope["raw_path"] = root_path.encode() + head.raw_path
        if self._state is not None:
            scope["state"] = self._state.copy()
        if origin is not None:
            apply_origin(origin, scope)
        return scope

    def websocket(self, head: RequestHead, subprotocols: tuple[str, ...]) -> dict[str, Any]:
        """The scope of a handshake: that of its request, without a method."""
        scope = self.http(head)
        del scope["method"]
        of_connection = {name: facts for name, facts in scope["extensions"].items() if not name.startswith("http.")}
        scope |= {
            "type": "websocket",
            "scheme": "wss" if scope["scheme"] in ("https", "wss") else "ws",
            "subprotocols": list(subprotocols),
            "extensions": of_connection | {"websocket.http.response": {}},
        }
        return scope
