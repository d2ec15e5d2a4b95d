"""A server in a thread, for a program or a notebook that is not async.

    python docs/examples/serve_in_thread.py
"""

import urllib.request
from typing import Any

from trioserve.testing import serve_in_thread


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"Hello\n"})


def main() -> None:
    with serve_in_thread(app, lifespan="off") as server:
        print(urllib.request.urlopen(server.url).read().decode(), end="")


if __name__ == "__main__":
    main()
