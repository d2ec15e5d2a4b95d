"""A response that is made while it is sent.

    trioserve --app-dir docs/examples streaming:app
"""

from typing import Any

import anyio


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Count until the client has heard enough."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    sent = 0
    try:
        while True:
            # Waits while the client is slow, so this loop is never far ahead of its reader.
            await send({"type": "http.response.body", "body": b"%d\n" % sent, "more_body": True})
            sent += 1
            await anyio.sleep(0.001)
    finally:  # the client left, or the server shuts down
        print("stopped after", sent, flush=True)
