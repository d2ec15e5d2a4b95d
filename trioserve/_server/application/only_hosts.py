"""Requests for other hosts than those of ``--server-name`` are answered before the application sees them."""

from functools import update_wrapper
from typing import Final

from trioserve._asgi import error_body, host_of
from trioserve._host_names import HostNames
from trioserve._types import App, Receive, Scope, Send

__all__ = ["only_for_hosts"]

MISDIRECTED: Final = 421  # RFC 9110 §15.5.20

ANSWERED_AS: Final = {"http": "http.response", "websocket": "websocket.http.response"}
"""How the messages of an answer begin, by the type of the scope; what is in neither is no request."""


def only_for_hosts(names: HostNames, app: App) -> App:
    """``app``, for requests whose host is one of ``names``; the others get 421.

    The host is that of the request, or what a trusted proxy says about it. HTTP/1.0 need not name one, which is none
    of ``names``.
    """

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        kind = ANSWERED_AS.get(scope["type"])
        if kind is None or (host_of(scope["headers"]) or "") in names:
            await app(scope, receive, send)
        else:
            await _refuse(kind, send)

    return update_wrapper(call, app, assigned=(), updated=())


async def _refuse(kind: str, send: Send) -> None:
    body = error_body("this server does not serve the host of the request")
    fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": f"{kind}.start", "status": MISDIRECTED, "headers": fields})
    await send({"type": f"{kind}.body", "body": body})
