"""A transport for httpx whose connections are the memory server's: with its pool, its keep-alive and its HTTP/2."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import httpcore
import httpx

from trioserve.testing.raw_client import RawClient

__all__ = ["MemoryTransport"]


class MemoryTransport(httpx.AsyncBaseTransport):
    """As ``httpx.AsyncHTTPTransport``, over connections that ``connect`` makes. Host and port of a URL go nowhere.

    Args:
        http2: speak HTTP/2 with prior knowledge (RFC 9113 §3.3), to a server with the option ``http2``.
    """

    def __init__(self, connect: Callable[[], RawClient], *, http2: bool = False) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=100, max_keepalive_connections=20, http1=not http2, http2=http2,
            network_backend=_MemoryNetwork(connect))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request, on a new or an idle connection. Raises what httpx raises, such as ``httpx.ReadTimeout``."""
        url = request.url
        if url.scheme != "http":
            raise httpx.UnsupportedProtocol(f"connections in memory have no TLS: take http:// in place of {url}")
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
    def __init__(self, client: RawClient) -> None:
        self._client = client

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        with _errors_of_httpcore(httpcore.ReadTimeout, httpcore.ReadError), anyio.fail_after(timeout):
            try:
                return await self._client.receive(max_bytes)
            except anyio.EndOfStream:
                return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        with _errors_of_httpcore(httpcore.WriteTimeout, httpcore.WriteError), anyio.fail_after(timeout):
            await self._client.send(buffer)

    async def aclose(self) -> None:
        await self._client.aclose()

    def get_extra_info(self, info: str) -> Any:
        """What the pool asks for: whether an idle connection has been closed by the server."""
        attributes = {
            "client_addr": anyio.abc.SocketAttribute.local_address,
            "server_addr": anyio.abc.SocketAttribute.remote_address,
        }
        if info == "is_readable":
            return self._client.has_input
        return self._client.extra(attributes[info], None) if info in attributes else None


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
    except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
        raise on_break(exc) from exc


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """httpx has an exception of the same name for each of httpcore's that a caller can meet."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as exc:
        raise getattr(httpx, type(exc).__name__)(str(exc)) from exc
