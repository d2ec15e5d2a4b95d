"""Connection scopes from request heads (ASGI core 3.0; HTTP and WebSocket specification 2.5)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from trioserve._asgi.origin import ProxyHeaders, apply_origin
from trioserve._protocol.events import Meaning, RequestHead
from trioserve._protocol.forwarded import Origin
from trioserve._root_path import decode_prefix

if TYPE_CHECKING:
    from trioserve._types import Fields

__all__ = ["ScopeFactory"]

ASGI_VERSION: Final = "3.0"
HTTP_SPEC_VERSION: Final = "2.5"


class ScopeFactory:
    """Makes the scopes of one connection: what its requests share is looked up once.

    ``tls`` is the extension of that name, for a connection that is protected; each scope gets a copy. ``root_path`` has
    the form of ``read_prefix``; ``asgi_version`` is that of the application's interface, "2.0" or "3.0".
    """

    __slots__ = (
        "_asgi_version", "_client", "_last_head", "_last_origin", "_proxies", "_read_origin", "_root_path", "_scheme",
        "_server", "_state", "_template", "_tls",
    )  # fmt: skip

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
        asgi_version: str = ASGI_VERSION,
    ) -> None:
        self._asgi_version = asgi_version
        self._scheme = scheme
        self._client = client
        self._server = server
        self._root_path = decode_prefix(root_path)
        self._state = state
        self._proxies = proxies
        self._tls = tls
        self._read_origin: Callable[[Fields], Origin] | None = None  # looked for when it is needed first
        self._last_origin: tuple[Meaning, Origin] | None = None
        self._last_head: RequestHead | None = None
        self._template: dict[str, Any] | None = None  # of its scope, once it has been repeated

    def origin(self, head: RequestHead) -> Origin | None:
        """What trusted proxies say about a request; ``None`` when there is nothing, or nobody who is believed."""
        if not head.meaning.forwarded or self._proxies is None:
            return None
        if self._last_origin is not None and self._last_origin[0] is head.meaning:  # the same field section
            return self._last_origin[1]
        if self._read_origin is None:
            self._read_origin = self._proxies.reader(self._client, self._server)
            if self._read_origin is None:
                self._proxies = None  # a connection has one peer
                return None
        origin = self._read_origin(head.headers)
        self._last_origin = head.meaning, origin
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
        if head is not self._last_head:
            self._last_head, self._template = head, None
            scope = self._describe(head)
        else:  # said again and again: 0.3 us less
            if self._template is None:
                self._template = self._describe(head)
            scope = self._template.copy()
        scope["asgi"] = {"version": self._asgi_version, "spec_version": HTTP_SPEC_VERSION}
        scope["headers"] = scope["headers"].copy()
        if head.meaning.http_version != "1.0":  # trailers need chunks, 103 a client that knows interim responses
            scope["extensions"] = {"http.response.trailers": {}, "http.response.early_hint": {}}
        else:
            scope["extensions"] = {}
        if self._tls is not None:
            scope["extensions"]["tls"] = self._tls.copy()
        if self._state is not None:
            scope["state"] = self._state.copy()
        return scope

    def _describe(self, head: RequestHead) -> dict[str, Any]:
        """Where a request comes from and what it asks for: the part of its scope that nobody can change."""
        origin = self.origin(head) if head.meaning.forwarded else None
        root_path, raw_root_path = self._root_path
        if origin is not None and origin.prefix is not None:
            root_path, raw_root_path = decode_prefix(origin.prefix)
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": head.meaning.http_version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": head.method,
            "root_path": root_path,
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query_string,
            "headers": head.headers,
        }
        if root_path and head.raw_path != b"*":
            scope["path"] = root_path + head.path
            scope["raw_path"] = raw_root_path + head.raw_path
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
