"""The same requests over memory and over a real socket: the answers are the same, to the byte where bytes are compared.

The applications are those of the end-to-end tests: one that behaves as a path says, one with what FastAPI's tutorial
teaches, one with Starlette's responses, requests and middleware.
"""

import importlib.util
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.abc
import httpx
import pytest

from tests.helpers.transcripts import get, post
from tests.helpers.ws_client import handshake
from tests.helpers.ws_frames import BINARY, PING, TEXT, close_frame, frame
from trioserve.testing import RawClient, open_test_server, serve_background

pytestmark = pytest.mark.real_clock

APPS: Final = Path(__file__).parents[1] / "e2e" / "apps"
OPTIONS: Final[dict[str, Any]] = {"date_header": False, "access_log": False}
LAST: Final = "connection: close"
HEADERS: Final = {"host": "shop", "user-agent": "test"}


def load(name: str) -> Any:
    """``module:attribute``, freshly imported."""
    module_name, _, attribute = name.partition(":")
    spec = importlib.util.spec_from_file_location(f"differential_{module_name}", APPS / f"{module_name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, attribute)


# -- bytes -----------------------------------------------------------------------------------------------------------

RAW: Final = {
    "a response": get("/hello", LAST),
    "HEAD": get("/hello", LAST, method="HEAD"),
    "HTTP/1.0": get("/hello", version="1.0"),
    "two requests at once": get("/echo", method="POST") + get("/nowhere", LAST),
    "a body with a length": post(b"abc", LAST, target="/echo"),
    "a chunked body": get("/echo", "transfer-encoding: chunked", LAST, method="POST") + b"3\r\nabc\r\n0\r\n\r\n",
    "a body that is longer than is held in memory": post(bytes(300_000), LAST, target="/digest"),
    "100-continue": get("/echo", "expect: 100-continue", "content-length: 3", LAST, method="POST") + b"abc",
    "a query": get("/hello?a=1&b=%20", LAST),
    "no host": b"GET /hello HTTP/1.1\r\n\r\n",
    "two lengths": get("/echo", "content-length: 3", "content-length: 4", method="POST"),
    "a length and chunks": get("/echo", "content-length: 3", "transfer-encoding: chunked", method="POST"),
    "a bad chunk": get("/echo", "transfer-encoding: chunked", method="POST") + b"xyz\r\n",
    "no version": b"GET /hello\r\n\r\n",
    "another version": get("/hello", version="3.0"),
    "a head that is too large": get("/hello", "x: " + "y" * 100_000),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "TRACE": get("/hello", LAST, method="TRACE"),
    "an application that raises": get("/fail", LAST),
    "an application that raises in a group": get("/fail_in_group", LAST),
    "an application that returns without an answer": get("/return_early", LAST),
    "an answer that is too short": get("/return_short"),
    **{f"nonsense: {kind}": get(f"/nonsense?kind={kind}", LAST) for kind in (
        "not-a-dict", "no-type", "unknown-type", "body-first", "start-twice", "status-text", "status-interim",
        "header-text", "header-injection", "header-name", "body-text", "body-too-long", "body-too-short", "websocket")},
    "a WebSocket": handshake(target="/echo") + frame(TEXT, b"hello") + frame(BINARY, bytes(70_000)) + close_frame(1000),
    "a WebSocket that pings": handshake(target="/echo") + frame(PING, b"there?") + close_frame(4000, b"bye"),
    "a WebSocket with a bad frame": handshake(target="/echo") + b"\xff\x80\x00\x00\x00\x00",
    "a WebSocket that the application closes": handshake(target="/close?code=4001&reason=over") + close_frame(4001),
    "a WebSocket that is refused": handshake(target="/refuse"),
    "a WebSocket that is denied": handshake(target="/deny"),
    "a WebSocket of another version": handshake(target="/echo", version="7"),
}


async def receive_all(stream: anyio.abc.ByteStream) -> bytes:
    """Until the end. Ports are the client's, and differ."""
    received = b""
    try:
        while True:
            received += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return re.sub(rb"x-client-port: \d+", b"x-client-port: 1", received)


@asynccontextmanager
async def raw_servers() -> AsyncIterator[tuple[Any, Any]]:
    """How to connect: in memory, and over a socket."""
    app = load("probe:app")
    async with open_test_server(app, **OPTIONS) as memory, serve_background(app, **OPTIONS) as background:
        host, port = background.addresses[0]
        assert port is not None

        async def connect_in_memory() -> RawClient:
            return memory.connect()

        async def connect() -> anyio.abc.ByteStream:
            return await anyio.connect_tcp(host, port)

        yield connect_in_memory, connect


@pytest.mark.parametrize("name", RAW)
async def test_bytes(name: str) -> None:
    answers = []
    async with raw_servers() as connects:
        for connect in connects:
            async with await connect() as stream, anyio.create_task_group() as nursery:
                nursery.start_soon(send, stream, RAW[name])
                answers.append(await receive_all(stream))
                nursery.cancel_scope.cancel()
    assert answers[0] == answers[1]
    assert answers[0].startswith(b"HTTP/1.1 ")


async def send(stream: anyio.abc.ByteStream, data: bytes) -> None:
    try:
        await stream.send(data)
    except anyio.BrokenResourceError:
        return  # the server has refused the request, and does not read the rest


# -- requests of httpx, on one connection ----------------------------------------------------------------------------

PICTURE: Final = bytes(range(256)) * 5000
Request = tuple[str, str, dict[str, Any]]

FASTAPI: Final[list[Request]] = [
    ("GET", "/items/7", {"params": {"q": "ein Wort, größer"}}),
    ("GET", "/items/seven", {}),
    ("GET", "/items/404", {}),
    ("DELETE", "/items/7", {}),
    ("POST", "/items", {"json": {"name": "kettle", "price": 3, "tags": ["kitchen"]}}),
    ("POST", "/items", {"json": {"name": "kettle", "price": -1}}),
    ("POST", "/items", {"content": b"{"}),
    ("POST", "/form", {"data": {"name": "picture"}, "files": {"upload": ("a.bin", PICTURE)}}),
    ("GET", "/source", {}),
    ("GET", "/source", {"headers": {"range": "bytes=3-9"}}),
    ("HEAD", "/source", {}),
    ("GET", "/stream", {}),
    ("GET", "/sync", {}),
    ("GET", "/dependency", {"params": {"token": "a"}}),
    ("GET", "/state", {}),
    ("GET", "/fail", {}),
    ("GET", "/openapi.json", {}),
    ("GET", "/docs", {}),
    ("GET", "/nowhere", {}),
]
STARLETTE: Final[list[Request]] = [
    ("GET", "/file", {}),
    ("GET", "/file", {"headers": {"range": "bytes=100-"}}),
    ("HEAD", "/file", {}),
    ("GET", "/missing", {}),
    ("GET", "/static/file.bin", {}),
    ("GET", "/static/nothing", {}),
    ("GET", "/stream", {}),
    ("GET", "/fail", {}),
    ("GET", "/fail_midway", {}),
    ("POST", "/read_stream", {"content": PICTURE}),
    ("GET", "/read_stream", {}),
    ("GET", "/text", {}),
    ("GET", "/text", {"headers": {"accept-encoding": "gzip"}}),
    ("GET", "/nowhere", {}),
]
OF_A_FILE_THAT_IS_MADE_ANEW: Final = {"etag", "last-modified"}


async def answers_to(requests: list[Request], client: httpx.AsyncClient) -> list[Any]:
    """Status, fields and body of each answer, or what is raised instead."""
    answers: list[Any] = []
    for method, url, arguments in requests:
        try:
            answer = await client.request(method, url, **arguments)
        except httpx.HTTPError as exc:
            answers.append(type(exc))
        else:
            fields = [pair for pair in answer.headers.multi_items() if pair[0] not in OF_A_FILE_THAT_IS_MADE_ANEW]
            answers.append((answer.http_version, answer.status_code, fields, answer.content))
    return answers


@pytest.mark.parametrize("name", ["fastapi_app:app", "starlette_app:app", "starlette_app:wrapped",
                                  "starlette_app:compressing"])
async def test_frameworks(name: str) -> None:
    requests = FASTAPI if name.startswith("fastapi") else STARLETTE
    async with open_test_server(load(name), **OPTIONS) as memory, memory.client(headers=HEADERS, timeout=30) as client:
        in_memory = await answers_to(requests, client)
    async with (
        serve_background(load(name), **OPTIONS) as background,
        httpx.AsyncClient(base_url=background.url, trust_env=False, headers=HEADERS, timeout=30) as client,
    ):
        on_socket = await answers_to(requests, client)
    for request, one, other in zip(requests, in_memory, on_socket, strict=True):
        assert one == other, request


async def test_frameworks_over_http_2() -> None:
    app = load("fastapi_app:app")
    async with (
        open_test_server(app, http2=True, **OPTIONS) as memory,
        memory.client(http2=True, headers=HEADERS, timeout=30) as client,
    ):
        in_memory = await answers_to(FASTAPI, client)
    async with (
        serve_background(app, http2=True, **OPTIONS) as background,
        httpx.AsyncClient(
            base_url=background.url, trust_env=False, http1=False, http2=True, headers=HEADERS, timeout=30) as client,
    ):
        on_socket = await answers_to(FASTAPI, client)
    for request, one, other in zip(FASTAPI, in_memory, on_socket, strict=True):
        assert one == other, request
