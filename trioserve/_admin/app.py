"""What the admin listener answers, as an ASGI application: the page, the tree, its events, cancelling, and health."""

import json
from collections.abc import Collection, Mapping
from time import perf_counter
from typing import Any, Final, Protocol

import anyio

from trioserve._admin.cancelling import CancelAnswer
from trioserve._admin.guard import has_token, new_token, why_refused
from trioserve._admin.page import PageFile, load_page
from trioserve._admin.view import View, read_interval, read_view
from trioserve._errors import ClientDisconnected
from trioserve._types import App, Receive, Scope, Send

__all__ = ["AdminApp", "Source"]

LARGEST_BODY: Final = 4096  # bytes, of a POST
MOST_STREAMS: Final = 20  # of events, at once
SHARE: Final = 0.01  # of the time that may be spent on snapshots, for all streams together
LONGEST_PAUSE: Final = 10.0  # seconds between snapshots, however large they are
RETRY: Final = b"retry: 2000\n\n"

_JSON: Final = b"application/json"
_TEXT: Final = b"text/plain; charset=utf-8"
_EVENTS: Final = b"text/event-stream"
_FIELDS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Source(Protocol):
    """A server, or several, as the admin listener sees them."""

    async def tree(self, view: View) -> dict[str, Any]:
        """A snapshot, see docs/reference/tree.md."""

    async def cancel(self, id: str) -> CancelAnswer:
        """Cancel one node."""

    def why_not_ready(self) -> str:
        """``starting``, ``shutdown-delay`` or ``draining``; empty when requests can come."""


class AdminApp:
    """Answers for ``source``.

    Args:
        names: hosts that it may be asked for, besides ``localhost`` and addresses in numbers.
        beside: applications for further paths, which are asked by GET only.
        token: one of this run; a new one without it.

    Attributes:
        token: what a request that changes something has to have.
    """

    def __init__(
        self, source: Source, *, names: Collection[str] = (), beside: Mapping[str, App] | None = None, token: str = ""
    ) -> None:
        self._source = source
        self._names = frozenset(name.lower() for name in names)
        self._beside = beside or {}
        self._page: dict[str, PageFile] | None = None  # read when somebody wants to see it
        self._streams = 0
        self._pauses: set[anyio.CancelScope] = set()  # of streams, between two snapshots
        self._left = anyio.Event()
        self._ends = False
        self.token = token or new_token()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"the admin listener does not serve {scope['type']}")
        path = scope["path"].removeprefix(scope["root_path"]) if scope["root_path"] else scope["path"]
        method = scope["method"]
        if path in ("/healthz", "/readyz") and method in ("GET", "HEAD"):
            await self._answer_health(path, send)
        elif problem := why_refused(scope, self._names):
            await _say(send, 403, problem)
        elif path == "/cancel":
            await self._cancel(scope, receive, send)
        elif method not in ("GET", "HEAD"):
            await _say(send, 405, f"{path} is asked for by GET", (b"allow", b"GET, HEAD"))
        elif path == "/tree":
            await self._show_tree(scope, send)
        elif path == "/tree/events":
            await self._stream_tree(scope, receive, send)
        elif (app := self._beside.get(path)) is not None:
            await app(scope, receive, send)
        else:
            await self._show_page(path, send)

    async def end_streams(self) -> None:
        """Tell those who watch that the server has stopped; returns when they have been told."""
        self._ends = True
        for pause in self._pauses:
            pause.cancel()
        while self._streams:
            await self._left.wait()

    async def _answer_health(self, path: str, send: Send) -> None:
        why_not = self._source.why_not_ready() if path == "/readyz" else ""
        ready = "ready" if path == "/readyz" else "ok"
        await _say(send, 503 if why_not else 200, why_not or ready)

    async def _show_page(self, path: str, send: Send) -> None:
        if self._page is None:
            self._page = load_page()
        file = self._page.get(path[1:])
        if file is None:
            await _say(send, 404, f"there is no {path[:100]!r} here")
        else:
            await _send(send, 200, file.fields, file.body)

    async def _show_tree(self, scope: Scope, send: Send) -> None:
        try:
            view = read_view(scope["query_string"])
        except ValueError as exc:
            await _say(send, 400, str(exc))
            return
        await _send_json(send, 200, await self._source.tree(view))

    # Events.

    async def _stream_tree(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            view, interval = read_view(scope["query_string"]), read_interval(scope["query_string"])
        except ValueError as exc:
            await _say(send, 400, str(exc))
            return
        if self._streams >= MOST_STREAMS:
            await _say(send, 503, f"{MOST_STREAMS} pages are open already: close one")
            return
        self._streams += 1
        try:
            await self._send_snapshots(view, interval, receive, send)
        except ClientDisconnected:
            pass  # the page was closed
        finally:
            self._streams -= 1
            self._left.set()
            self._left = anyio.Event()

    async def _send_snapshots(self, view: View, interval: float, receive: Receive, send: Send) -> None:
        """One after the other: none is made before the last one has been taken."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", _EVENTS), *_FIELDS]})
        await _send_part(send, RETRY)
        while not self._ends:
            snapshot = await self._source.tree(view)  # may wait for a worker that does not answer, which costs nothing
            began = perf_counter()
            data = json.dumps(snapshot, separators=(",", ":")).encode()
            spent = snapshot["took"] + perf_counter() - began
            await _send_part(send, b"event: tree\ndata: %b\n\n" % data)
            pause = min(spent * self._streams / SHARE, LONGEST_PAUSE)
            if await self._leaves_within(max(interval, pause), receive):
                return
        await _send_part(send, b'event: end\ndata: {"reason": "the server has stopped"}\n\n', more=False)

    async def _leaves_within(self, seconds: float, receive: Receive) -> bool:
        """Whether the page is closed meanwhile. Who listens for that is not ended by the server, with a line of log."""
        with anyio.move_on_after(seconds) as pause:
            self._pauses.add(pause)
            try:
                while (await receive())["type"] != "http.disconnect":
                    pass
            finally:
                self._pauses.discard(pause)
        return not pause.cancelled_caught

    # Cancelling.

    async def _cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _send_json(send, 405, {"error": "/cancel is asked for by POST"}, (b"allow", b"POST"))
        elif not has_token(scope, self.token):
            await _send_json(
                send, 401, {"error": "the token is missing or wrong: it is in the server's start line"},
                (b"www-authenticate", b"Bearer"))
        elif (id := _id_in(await _read(receive))) is None:
            await _send_json(send, 400, {"error": 'the body is not of the form {"id": "4711-12"}'})
        else:
            answer = await self._source.cancel(id)
            await _send_json(send, answer.status, answer.body)


def _id_in(body: bytes | None) -> str | None:
    try:
        given = json.loads(body or b"")
    except ValueError:
        return None
    id = given.get("id") if isinstance(given, dict) else None
    return id if isinstance(id, str) else None


async def _read(receive: Receive) -> bytes | None:
    """The body; ``None`` when it is too large, or when the client has left."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += bytes(message["body"])
        if len(body) > LARGEST_BODY:
            return None
        if not message["more_body"]:
            return body


# Sending.


async def _say(send: Send, status: int, text: str, *more: tuple[bytes, bytes]) -> None:
    await _send(send, status, ((b"content-type", _TEXT), *_FIELDS, *more), f"{text}\n".encode())


async def _send_json(send: Send, status: int, value: Any, *more: tuple[bytes, bytes]) -> None:
    body = json.dumps(value).encode()
    await _send(send, status, ((b"content-type", _JSON), *_FIELDS, *more), body)


async def _send(send: Send, status: int, fields: Collection[tuple[bytes, bytes]], body: bytes) -> None:
    with_length = [field for field in fields if field[0] != b"content-length"]
    with_length.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": with_length})
    await _send_part(send, body, more=False)


async def _send_part(send: Send, data: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})
