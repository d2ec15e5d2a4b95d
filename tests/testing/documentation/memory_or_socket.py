"""A plugin of pytest for the tests of FastAPI's documentation: their ``TestClient`` asks a server of ours.

    python -m pytest -p memory_or_socket --place memory --backend trio --answers FILE

Their own client calls the application itself. Here each request goes to the server, in memory or over a socket. Each
answer is written to a file, and so is the outcome of each test.
"""

import json
import sys
import types
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import anyio.from_thread
import fastapi.testclient
import httpx
import pytest
import starlette.testclient

from trioserve.testing import MemoryTransport, open_test_server, serve_background

OPTIONS: Final[dict[str, Any]] = {"access_log": False, "date_header": False}
ADDRESS: Final = ("127.0.0.1", 50000)  # of clients in memory: over the socket they have the same host

Server = tuple[httpx.AsyncBaseTransport, httpx.URL]


@asynccontextmanager
async def in_memory(app: Any) -> AsyncIterator[Server]:
    async with (
        open_test_server(app, **OPTIONS) as server,
        MemoryTransport(lambda: server.connect(ADDRESS)) as transport,
    ):
        yield transport, httpx.URL(server.url)


@asynccontextmanager
async def on_socket(app: Any) -> AsyncIterator[Server]:
    async with (
        serve_background(app, **OPTIONS) as server,
        httpx.AsyncHTTPTransport(verify=False) as transport,  # reading all authorities takes longer than a test
    ):
        yield transport, httpx.URL(server.url)


PLACES: Final = {"memory": in_memory, "socket": on_socket}


class Recorder:
    """Runs the servers of one run of the tests, and writes down what they answer."""

    def __init__(self, place: str, backend: str, path: Path) -> None:
        self._serve = PLACES[place]
        self._path = path
        self._loop = ExitStack()
        self._portal = self._loop.enter_context(anyio.from_thread.start_blocking_portal(backend))
        self._of_module = ExitStack()
        self._servers: dict[int, tuple[Any, Server]] = {}  # of the module's applications, by their id
        self._module = ""
        self._test = ""
        self._lines: list[str] = []

    def begin_test(self, nodeid: str) -> None:
        module = nodeid.partition("::")[0]
        if module != self._module:
            self._end_module()
        self._module, self._test = module, nodeid

    def serve(self, app: Any, stack: ExitStack | None = None) -> Server:
        """A server for ``app``, until ``stack`` is closed, or else one for all tests of the module."""
        if stack is not None:
            return stack.enter_context(self._portal.wrap_async_context_manager(self._serve(app)))
        if id(app) not in self._servers:
            self._servers[id(app)] = app, self.serve(app, self._of_module)
        return self._servers[id(app)][1]

    def ask(self, server: Server, request: httpx.Request) -> httpx.Response:
        response, body = self._portal.call(exchange, server, request)
        fields = [(name.decode(), value.decode()) for name, value in response.headers.raw]
        self.write(request.method, str(request.url), response.status_code, fields, body.decode("latin-1"))
        return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(body))

    def write(self, *what: Any) -> None:
        self._lines.append(json.dumps([self._test, *what]))

    def end(self) -> None:
        self._end_module()
        self._loop.close()
        self._path.write_text("\n".join(self._lines), "utf-8")

    def _end_module(self) -> None:
        self._of_module.close()
        self._servers.clear()


async def exchange(server: Server, request: httpx.Request) -> tuple[httpx.Response, bytes]:
    """The answer to ``request``, and its body as it was on the wire."""
    transport, url = server
    sent = httpx.Request(
        request.method, request.url.copy_with(scheme=url.scheme, host=url.host, port=url.port),
        headers=request.headers, content=request.content)
    response = await transport.handle_async_request(sent)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    body = b"".join([part async for part in response.stream])
    await response.aclose()
    return response, body


class Transport(httpx.BaseTransport):
    """The server of one client. In a block it is the client's own, so a lifespan begins and ends with the block."""

    def __init__(self, recorder: Recorder, app: Any) -> None:
        self._recorder = recorder
        self._app = app
        self._own = ExitStack()
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self._server = self._recorder.serve(self._app, self._own)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._own.close()
        self._server = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._recorder.ask(self._server or self._recorder.serve(self._app), request)


class Client(httpx.Client):
    """Has of Starlette's ``TestClient`` what the tests of the documentation use."""

    __test__ = False  # the tests know it as TestClient, and pytest collects classes of such names
    recorder: Recorder

    def __init__(self, app: Any, base_url: str = "http://testserver", **options: Any) -> None:
        super().__init__(
            transport=Transport(self.recorder, app), base_url=base_url, headers={"user-agent": "testclient"},
            follow_redirects=True, **options)
        self.app = app


def pytest_addoption(parser: pytest.Parser) -> None:
    for name in ("--place", "--backend", "--answers"):
        parser.addoption(name, required=True)


def pytest_configure(config: pytest.Config) -> None:
    Client.recorder = Recorder(
        config.getoption("place"), config.getoption("backend"), Path(config.getoption("answers")))
    for module in (fastapi.testclient, starlette.testclient):
        module.TestClient = Client  # type: ignore[attr-defined]  # in the place of theirs
    # The tests compare with values that inline-snapshot has written. The values are enough.
    snapshots = types.ModuleType("inline_snapshot")
    snapshots.snapshot = snapshots.Is = lambda value: value  # type: ignore[attr-defined]  # all that they import
    sys.modules["inline_snapshot"] = snapshots


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    Client.recorder.begin_test(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.failed:
        Client.recorder.write(report.outcome)


def pytest_unconfigure() -> None:
    Client.recorder.end()
