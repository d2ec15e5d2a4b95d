"""An application that names each request in its own log, as the server does in its logs.

    trioserve --app-dir docs/examples request_id:app --log-format json
"""

import logging
from typing import Any

log = logging.getLogger("shop")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    name = scope["extensions"]["trioserve.request_id"]["get"]()  # found or made now, because somebody asks
    log.info("looking for %s", scope["path"], extra={"request_id": name})
    headers = [(b"x-request-id", name.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"found\n"})
