"""A program whose last line is ``trioserve.run``: ``python runs.py BACKEND``."""

import signal
import sys
from typing import Any

import trioserve


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"from run()"})


if __name__ == "__main__":
    before = signal.getsignal(signal.SIGTERM)  # the default, or what a coverage run has put there
    trioserve.run(app, port=0, backend=sys.argv[1])
    print("run() returned")
    print("SIGTERM is as before:", signal.getsignal(signal.SIGTERM) in (before, signal.SIG_DFL))
