"""Connection scopes from request heads (ASGI core 3.0; HTTP and WebSocket specification 2.5)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from trioserve._asgi.origin import ProxyHeaders, apply_origin
from trioserve._protocol.events import RequestHead
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
    the form of ``read_prefix``; ``asgi_version`` is that of the application's interface, "2.0" or "3.0". With
    ``sends_files`` applications are told that they can hand over files.
    """

    __slots__ = (
        "_asgi_version", "_client", "_last_origin", "_proxies", "_read_origin", "_root_path", "_scheme", "_sends_files",
        "_server", "_state", "_tls",
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
        sends_files: bool = True,
    ) -> None:
        self._sends_files = sends_files
        self._asgi_version = asgi_version
        self._scheme = scheme
        self._client = client
        self._server = server
        self._root_path = decode_prefix(root_path)
        self._state = state
        self._proxies = proxies
        self._tls = tls
        self._read_origin: Callable[[Fields], Origin] | None = None  # looked for when it is needed first
        self._last_origin: tuple[RequestHead, Origin] | None = None

    def origin(self, head: RequestHead) -> Origin | None:
        """What trusted proxies say about a request; ``None`` when there is nothing, or nobody who is believed."""
        if not head.meaning.forwarded or self._proxies is None:
            return None
        if self._last_origin is not None and self._last_origin[0] is head:
            return self._last_origin[1]
        if self._read_origin is None:
            self._read_origin = self._proxies.reader(self._client, self._server)
            if self._read_origin is None:
                self._proxies = None  # a connection has one peer
                return None
        origin = self._read_origin(head.headers)
        self._last_origin = head, origin
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
        meaning = head.meaning
        root_path, raw_root_path = self._root_path
        if meaning.http_version != "1.0":  # trailers need chunks, 103 a client that knows interim responses
            extensions: dict[str, dict[str, Any]] = {
                "http.response.trailers": {}, "http.response.early_hint": {}, "http.response.pathsend": {},
                "http.response.zerocopysend": {},
            }  # fmt: skip
        else:
            extensions = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}
        if not self._sends_files:
            del extensions["http.response.pathsend"], extensions["http.response.zerocopysend"]
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": self._asgi_version, "spec_version": HTTP_SPEC_VERSION},
            "http_version": meaning.http_version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": head.method,
            "root_path": root_path,
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query_string,
            "headers": head.headers.copy(),
            "extensions": extensions,
        }
        if meaning.forwarded and (origin := self.origin(head)) is not None:
            apply_origin(origin, scope)
            if origin.prefix is not None:
                root_path, raw_root_path = decode_prefix(origin.prefix)
                scope["root_path"] = root_path
        if root_path and head.raw_path != b"*":
            scope["path"] = root_path + head.path
            scope["raw_path"] = raw_root_path + head.raw_path
        if self._tls is not None:
            extensions["tls"] = self._tls.copy()
        if self._state is not None:
            scope["state"] = self._state.copy()
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
