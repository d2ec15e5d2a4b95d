"""One application in two places, in memory and on a real socket, for clients that do not know in which they are.

What comes of it is the same in both, but for ports and times.
"""

import importlib.util
import logging
import re
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

__all__ = ["PLACES", "Place", "Saying", "load_app", "talk"]

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
        lines: of the access log, without ports and times; all of them when the server has stopped.
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
    place.lines += access_lines(server.log)


@asynccontextmanager
async def on_socket(app: AnyApp, **options: Any) -> AsyncIterator[Place]:
    records: list[logging.LogRecord] = []
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
    place.lines += access_lines(records)


def access_lines(records: list[logging.LogRecord]) -> list[str]:
    """The format of ``OPTIONS`` says nothing of WebSockets, whose lines begin with a port and end with a time."""
    lines = [record.getMessage() for record in records if record.name == "trioserve.access"]
    return [re.sub(r"^([\d.]+):\d+|[\d.]+ s$", r"\1", line) for line in lines]


PLACES: Final[tuple[Callable[..., AbstractAsyncContextManager[Place]], ...]] = (in_memory, on_socket)


@dataclass(frozen=True)
class Saying:
    """What a client sends: ``data``, and then perhaps no more. ``options`` are the server's."""

    data: bytes
    half_closes: bool = False
    options: dict[str, Any] = field(default_factory=dict)


async def talk(place: Place, saying: Saying) -> tuple[bytes, bool]:
    """Say it on a new connection. Returns all that comes until the end, and whether the end was a reset."""
    async with await place.connect() as stream, anyio.create_task_group() as nursery:
        nursery.start_soon(say, stream, saying)
        heard = await hear(stream)
        nursery.cancel_scope.cancel()
    return heard


async def say(stream: ByteStream, saying: Saying) -> None:
    try:
        await stream.send(saying.data)
        if saying.half_closes:
            await stream.send_eof()
    except anyio.BrokenResourceError:
        return  # the server has refused the request, and does not read the rest


async def hear(stream: ByteStream) -> tuple[bytes, bool]:
    received = b""
    try:
        while True:
            received += await stream.receive()
    except anyio.EndOfStream:
        return received, False
    except anyio.BrokenResourceError:
        return received, True


def load_app(name: str) -> AnyApp:
    """``module:attribute`` of the end-to-end tests' applications, freshly imported."""
    module_name, _, attribute = name.partition(":")
    spec = importlib.util.spec_from_file_location(f"placed_{module_name}", APPS / f"{module_name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app: AnyApp = getattr(module, attribute)
    return app
