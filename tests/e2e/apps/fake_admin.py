"""The endpoints of the admin listener, with a tree that the test says: ``PUT /snapshot`` is shown by every open page.

``GET /asked`` tells what the pages have asked for: the query strings of their event streams, how many of these are
open, and the ids that were cancelled. ``POST /end`` ends the open streams as a server does that stops. Who filters by
"refused" is refused.
"""

import json
from typing import Any

import anyio

from trioserve._admin.page import load_page

TOKEN = "right"

page = load_page()
snapshots: list[bytes] = []
looks: list[str] = []
cancelled: list[str] = []
changed = anyio.Event()
ends = anyio.Event()
open_streams = 0


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    global changed, ends
    match scope["method"], scope["path"]:
        case "GET", "/tree/events" if b"filter=refused" in scope["query_string"]:
            await answer(send, 503, "20 pages are open already: close one")
        case "GET", "/tree/events":
            looks.append(scope["query_string"].decode())
            await stream(send)
        case "GET", "/asked":
            await answer(send, 200, {"looks": looks, "open": open_streams, "cancelled": cancelled})
        case "PUT", "/snapshot":
            snapshots.append(await body(receive))
            changed.set()
            changed = anyio.Event()
            await answer(send, 200, {})
        case "POST", "/end":
            ends.set()
            changed.set()
            ends, changed = anyio.Event(), anyio.Event()
            await answer(send, 200, {})
        case "POST", "/cancel":
            await cancel(scope, receive, send)
        case "GET", path if path[1:] in page:
            file = page[path[1:]]
            await send({"type": "http.response.start", "status": 200, "headers": list(file.fields)})
            await send({"type": "http.response.body", "body": file.body})
        case _:
            await answer(send, 404, {"error": "there is no such thing"})


async def stream(send: Any) -> None:
    """Each snapshot as soon as it is there, from the last one on."""
    global open_streams
    shown, end = None, ends
    open_streams += 1
    try:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        while not end.is_set():
            if snapshots and snapshots[-1] is not shown:
                shown = snapshots[-1]
                await send_event(send, b"tree", shown)
            else:
                await changed.wait()
        await send_event(send, b"end", b'{"reason": "the server has stopped"}')
        await send({"type": "http.response.body"})
    finally:
        open_streams -= 1


async def send_event(send: Any, name: bytes, data: bytes) -> None:
    await send({"type": "http.response.body", "body": b"event: %b\ndata: %b\n\n" % (name, data), "more_body": True})


async def cancel(scope: Any, receive: Any, send: Any) -> None:
    if dict(scope["headers"]).get(b"authorization") != b"Bearer " + TOKEN.encode():
        await answer(send, 401, {"error": "The token is wrong."})
        return
    wanted = json.loads(await body(receive))["id"]
    cancelled.append(wanted)
    await answer(send, 200, {"id": wanted, "kind": "request", "name": "GET /"})


async def body(receive: Any) -> bytes:
    data = b""
    while True:
        message = await receive()
        data += bytes(message["body"])
        if not message["more_body"]:
            return data


async def answer(send: Any, status: int, value: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})
