"""The endpoints of the admin listener, with a tree that the test says: ``PUT /snapshot`` is shown by every open page.

``GET /asked`` tells what the page has asked for: the query strings of its event streams, and the ids that it cancelled.
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


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    global changed
    match scope["method"], scope["path"]:
        case "GET", "/tree/events":
            looks.append(scope["query_string"].decode())
            await stream(send)
        case "GET", "/asked":
            await answer(send, 200, {"looks": looks, "cancelled": cancelled})
        case "PUT", "/snapshot":
            snapshots.append(await body(receive))
            changed.set()
            changed = anyio.Event()
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
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    shown = None
    while True:
        if snapshots and snapshots[-1] is not shown:
            shown = snapshots[-1]
            await send({"type": "http.response.body", "body": b"event: tree\ndata: %b\n\n" % shown, "more_body": True})
        else:
            await changed.wait()


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
