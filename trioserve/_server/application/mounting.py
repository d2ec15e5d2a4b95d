"""Another application under a path of the main one (ASGI HTTP scope, ``root_path``)."""

from urllib.parse import unquote

from trioserve._types import App, Receive, Scope, Send

__all__ = ["mounted"]


def mounted(prefix: str, inner: App, app: App) -> App:
    """``app``, but for HTTP requests whose path is ``prefix`` or below it: those are ``inner``'s.

    ``prefix`` is as ``read_prefix`` gives it. ``inner`` finds it in ``root_path``. A request for ``prefix`` itself is
    sent to ``prefix/``, so that relative links of a page there lead below it.
    """
    decoded = unquote(prefix)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        root = scope["root_path"] + decoded
        if scope["path"] == root:
            await _redirect(f"{prefix.rpartition('/')[2]}/", send)
        elif scope["path"].startswith(f"{root}/"):
            await inner({**scope, "root_path": root}, receive, send)
        else:
            await app(scope, receive, send)

    return call


async def _redirect(target: str, send: Send) -> None:
    """RFC 9110 §15.4.9; relative, because only a proxy knows what is in front of it."""
    headers = [(b"location", target.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 308, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
