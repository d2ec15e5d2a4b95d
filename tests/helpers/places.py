"""One application in two places, in memory and on a real socket, for clients that do not know in which they are."""

import importlib.util
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import anyio
import httpx
from anyio.abc import ByteStream

from trioserve._types import AnyApp
from trioserve.testing import MemoryTransport, RawClient, open_test_server, serve_background
from trioserve.testing.server_log import recorded_log

__all__ = ["PLACES", "Place", "load_app"]

APPS: Final = Path(__file__).parents[1] / "e2e" / "apps"
CLIENT_ADDRESS: Final = ("127.0.0.1", 50000)  # in memory; on the socket clients have the same host
OPTIONS: Final[dict[str, Any]] = {
    "date_header": False,
    "access_log_format": '%(h)s "%(r)s" %(s)s %(B)s %(reason)s',  # without ports, names and times
}


class MakeClient(Protocol):
    """Makes a client of httpx, for one version of HTTP. With ``ssl_context`` the connection has TLS."""

    def __call__(
        self, *, http2: bool = False, ssl_context: ssl.SSLContext | None = None, **options: Any
    ) -> httpx.AsyncClient: ...


@dataclass
class Place:
    """A server that runs.

    Attributes:
        connect: a new connection, its bytes as they are on the wire.
        client: see ``MakeClient``.
        lines: of the access log; all of them when the server has stopped.
    """

    connect: Callable[[], Awaitable[ByteStream]]
    client: MakeClient
    lines: list[str] = field(default_factory=list)


@asynccontextmanager
async def in_memory(app: AnyApp, **options: Any) -> AsyncIterator[Place]:
    async with open_test_server(app, **OPTIONS | options) as server:

        def connect_now() -> RawClient:
            return server.connect(CLIENT_ADDRESS)

        async def connect() -> RawClient:
            return connect_now()

        def client(
            *, http2: bool = False, ssl_context: ssl.SSLContext | None = None, **options: Any
        ) -> httpx.AsyncClient:
            transport = MemoryTransport(connect_now, http1=not http2, http2=http2, ssl_context=ssl_context)
            return httpx.AsyncClient(transport=transport, base_url=server.url, **options)

        place = Place(connect, client)
        yield place
    place.lines += [record.getMessage() for record in server.log if record.name == "trioserve.access"]


@asynccontextmanager
async def on_socket(app: AnyApp, **options: Any) -> AsyncIterator[Place]:
    records: list[Any] = []
    with recorded_log(records):
        async with serve_background(app, **OPTIONS | options) as server:
            host, port = server.addresses[0]
            assert port is not None

            async def connect() -> ByteStream:
                return await anyio.connect_tcp(host, port)

            def client(
                *, http2: bool = False, ssl_context: ssl.SSLContext | None = None, **options: Any
            ) -> httpx.AsyncClient:
                return httpx.AsyncClient(
                    base_url=server.url, trust_env=False, http1=not http2, http2=http2, verify=ssl_context or False,
                    **options)

            place = Place(connect, client)
            yield place
    place.lines += [record.getMessage() for record in records if record.name == "trioserve.access"]


PLACES: Final[tuple[Callable[..., AbstractAsyncContextManager[Place]], ...]] = (in_memory, on_socket)


def load_app(name: str) -> AnyApp:
    """``module:attribute`` of the end-to-end tests' applications, freshly imported."""
    module_name, _, attribute = name.partition(":")
    spec = importlib.util.spec_from_file_location(f"placed_{module_name}", APPS / f"{module_name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app: AnyApp = getattr(module, attribute)
    return app
