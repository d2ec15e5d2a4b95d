"""A transport for httpx whose connections are the memory server's: with its pool, its keep-alive and its HTTP/2."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import anyio
import httpcore
import httpx
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from trioserve.testing.raw_client import RawClient
from trioserve.testing.tls_client import begin_tls

__all__ = ["MemoryTransport"]

ATTRIBUTES: Final = {  # what httpcore asks a stream for, and how anyio names it
    "client_addr": SocketAttribute.local_address,
    "server_addr": SocketAttribute.remote_address,
    "ssl_object": TLSAttribute.ssl_object,
}


class MemoryTransport(httpx.AsyncBaseTransport):
    """As ``httpx.AsyncHTTPTransport``, over connections that ``connect`` makes. Host and port of a URL go nowhere.

    Args:
        http1, http2: the versions of HTTP that it speaks. With TLS the server chooses one of them (RFC 7301). Without
            TLS it is HTTP/1.1, or HTTP/2 with prior knowledge if it is the only one (RFC 9113 §3.3).
        ssl_context: with it the connections begin with TLS. httpcore sets its protocols of ALPN.
    """

    def __init__(
        self, connect: Callable[[], RawClient], *, http1: bool = True, http2: bool = False,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._scheme = "http" if ssl_context is None else "https"
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context, max_connections=100, max_keepalive_connections=20, http1=http1, http2=http2,
            network_backend=_MemoryNetwork(connect))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, on a new or an idle connection. Raises what httpx raises, such as ``httpx.ReadTimeout``."""
        url = request.url
        if url.scheme != self._scheme:
            has = "no TLS" if self._scheme == "http" else "TLS"
            raise httpx.UnsupportedProtocol(f"the server has {has}: take {self._scheme}:// in place of {url}")
        assert isinstance(request.stream, httpx.AsyncByteStream)
        async with _closing(aiter(request.stream)) as body:
            with _errors_of_httpx():
                response = await self._pool.handle_async_request(
                    httpcore.Request(
                        method=request.method,
                        url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                        headers=request.headers.raw,
                        content=body,
                        extensions=request.extensions,
                    )
                )
        assert isinstance(response.stream, AsyncIterable)
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response.stream), extensions=response.extensions)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        with _errors_of_httpx():
            await self._stream.aclose()  # type: ignore[attr-defined]  # httpcore's streams have it


class _MemoryNetwork(httpcore.AsyncNetworkBackend):
    def __init__(self, connect: Callable[[], RawClient]) -> None:
        self._connect = connect

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:  # fmt: skip
        try:
            return _MemoryNetworkStream(self._connect())
        except ConnectionRefusedError as exc:
            raise httpcore.ConnectError(str(exc)) from exc


class _MemoryNetworkStream(httpcore.AsyncNetworkStream):
    """``stream`` is the connection of ``client``, or TLS over it."""

    def __init__(self, client: RawClient, stream: RawClient | TLSStream | None = None) -> None:
        self._client = client
        self._stream = stream or client

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        with _errors_of_httpcore(httpcore.ReadTimeout, httpcore.ReadError), anyio.fail_after(timeout):
            try:
                return await self._stream.receive(max_bytes)
            except anyio.EndOfStream:
                return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        with _errors_of_httpcore(httpcore.WriteTimeout, httpcore.WriteError), anyio.fail_after(timeout):
            await self._stream.send(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        with _errors_of_httpcore(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
            return _MemoryNetworkStream(self._client, await begin_tls(self._client, ssl_context, server_hostname))

    def get_extra_info(self, info: str) -> Any:
        """What the pool asks for: whether the server has closed an idle connection, what ALPN has chosen."""
        if info == "is_readable":
            return self._client.has_input
        return self._stream.extra(ATTRIBUTES[info], None) if info in ATTRIBUTES else None


@asynccontextmanager
async def _closing(body: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """A request that is cancelled leaves a generator half-way, which is an error of its own on trio."""
    try:
        yield body
    finally:
        if isinstance(body, AsyncGenerator):
            await body.aclose()


@contextmanager
def _errors_of_httpcore(on_timeout: type[Exception], on_break: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise on_timeout(exc) from exc
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError) as exc:
        raise on_break(exc) from exc


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """httpx has an exception of the same name for each of httpcore's that a caller can meet."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as exc:
        raise getattr(httpx, type(exc).__name__)(str(exc)) from exc
