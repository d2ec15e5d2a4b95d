"""Connection scopes from request heads (ASGI core 3.0; HTTP specification 2.5, "HTTP Connection Scope")."""

from typing import Any, Final

from trioserve._protocol.events import RequestHead

__all__ = ["ScopeFactory"]

ASGI_VERSION: Final = "3.0"
HTTP_SPEC_VERSION: Final = "2.5"


class ScopeFactory:
    """Makes the scopes of one connection: what its requests share is looked up once."""

    __slots__ = ("_client", "_root_path", "_scheme", "_server", "_state")

    def __init__(
        self,
        *,
        scheme: str,
        client: tuple[str, int | None] | None,
        server: tuple[str, int | None] | None,
        root_path: str,
        state: dict[str, Any] | None,
    ) -> None:
        self._scheme = scheme
        self._client = client
        self._server = server
        self._root_path = root_path
        self._state = state

    def http(self, head: RequestHead) -> dict[str, Any]:
        """A fresh scope; whatever the application changes in it stays in this request.

        ``root_path`` is put in front of ``path`` and ``raw_path``, because in ASGI both contain it. ``extensions``
        holds what works on this connection. ``state`` is a shallow copy of the lifespan's, absent without one.
        """
        root_path = self._root_path
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
        if root_path and head.raw_path != b"*":
            scope["path"] = root_path + head.path
            scope["raw_path"] = root_path.encode() + head.raw_path
        if self._state is not None:
            scope["state"] = self._state.copy()
        return scope
