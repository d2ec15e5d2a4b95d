"""A mistake: a call that blocks the event loop, so that no other request gets its turn.

    trioserve blocking:app --app-dir docs/examples --warn-blocked 100ms
"""

import time
from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    report = make_report()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": report})


def make_report() -> bytes:
    time.sleep(1)  # in place of a query, a download, or a long computation
    return b"a report\n"
