"""Applications that answer with files, by either extension of ASGI."""

from typing import Any, Final

from tests.helpers.serving import serving
from tests.helpers.transcripts import get
from trioserve._types import App, Receive, Scope, Send

__all__ = ["LARGE", "SMALL", "answer", "everything", "length", "path_app", "send_open", "send_path"]

SMALL: Final = b"a small file\n"
LARGE: Final = bytes(range(256)) * 1000  # several blocks


async def send_path(send: Send, path: object, headers: Any = (), **start_with: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(headers), **start_with})
    await send({"type": "http.response.pathsend", "path": str(path)})


async def send_open(send: Send, file: Any, **others: Any) -> None:
    await send({"type": "http.response.zerocopysend", "file": file, **others})


def path_app(path: object, headers: Any = ()) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_path(send, path, headers)

    return app


def length(size: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % size)]


async def answer(app: App, request: bytes = b"", **options: Any) -> bytes:
    async with serving(app, **options) as site:
        return await site.answer_to(request or get())


async def everything(app: App, request: bytes = b"") -> bytes:
    async with serving(app) as site:
        return await site.everything_after(request or get())
