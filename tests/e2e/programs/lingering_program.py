"""A program that serves, and then ends: ``lingering_program.py BACKEND LOOP``. A thread of its application does not."""

import sys
import threading
from collections.abc import MutableMapping
from typing import Any

import trioserve


async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    threading.Thread(target=threading.Event().wait, name="own thread").start()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"started"})


if __name__ == "__main__":
    trioserve.run(app, backend=sys.argv[1], loop=sys.argv[2], port=0, timeout_graceful_shutdown=1)
    sys.stderr.write("the program goes on\n")
