"""A stand-in for the server, which serves by noting what it was given."""

import socket
import ssl

import sniffio

from trioserve._config import Config
from trioserve._types import App, Receive, Scope, Send

__all__ = ["NO_LOOP_YET", "StandInServer", "app"]

NO_LOOP_YET = "The application is imported before the event loop runs: what needs a running one belongs in its lifespan"


class StandInServer:
    """Serves by noting what it was given; ``failure`` is raised instead, if there is one."""

    failure: Exception | None = None
    served: "list[StandInServer]"
    has_certificate_files = False

    def __init__(
        self, app: App, config: Config, *, sockets: list[socket.socket] | None,
        ssl_context: ssl.SSLContext | None = None, how_to_stop: str = "",
    ) -> None:  # fmt: skip
        self.app = app
        self.sockets = sockets
        self.config = config
        self.ssl_context = ssl_context
        self.backend = sniffio.current_async_library()
        self.loop: object = None  # asyncio's, if there is one

    async def serve(self) -> None:
        if self.backend == "asyncio":
            import asyncio

            self.loop = asyncio.get_running_loop()
        self.served.append(self)
        if self.failure is not None:
            raise self.failure


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError
