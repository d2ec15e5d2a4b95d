"""Fixtures for pytest. Until one of them is used, nothing of the server is imported.

An async fixture belongs to the plugin that runs the test: pytest-trio, anyio's, or pytest-asyncio. The first two take
ordinary async fixtures; for pytest-asyncio there are others, in ``pytest_asyncio_fixtures``.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

TYPE_CHECKING = False  # importing typing's would cost more than the rest
if TYPE_CHECKING:
    from typing import Any

    import httpx

    from trioserve.testing.memory_server import MemoryServer

__all__ = ["live_server_url", "trioserve_client", "trioserve_server"]

MARKER = "trioserve(app=None, **options): the application and fields of trioserve.Config, for the fixtures of trioserve"
HELP = "no application: mark the test with @pytest.mark.trioserve(app=...), or write a fixture of the name app"
NOT_ASYNC = "this fixture is for async tests of pytest-trio, anyio or pytest-asyncio; other tests take live_server_url"

TWO_PLUGINS = (
    "two plugins would run this test: pytest-asyncio in auto mode takes those of pytest-trio and anyio, too; "
    "set asyncio_mode = strict"
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    if _has_pytest_asyncio(config):
        from trioserve.testing import pytest_asyncio_fixtures

        config.pluginmanager.register(pytest_asyncio_fixtures)


@pytest.fixture
def trioserve_server(request: pytest.FixtureRequest) -> "MemoryServer":
    """The application on a server in memory: see ``open_test_server``."""
    server: MemoryServer = request.getfixturevalue(f"_trioserve_server{_kind_of(request)}")
    return server


@pytest.fixture
def trioserve_client(request: pytest.FixtureRequest) -> "httpx.AsyncClient":
    """An ``httpx.AsyncClient`` of ``trioserve_server``."""
    client: httpx.AsyncClient = request.getfixturevalue(f"_trioserve_client{_kind_of(request)}")
    return client


@pytest.fixture
def live_server_url(_trioserve_app: "Any", _trioserve_options: "dict[str, Any]") -> "Iterator[str]":
    """The URL of the application on a real socket, served in a thread: see ``serve_in_thread``."""
    from trioserve.testing import serve_in_thread

    with serve_in_thread(_trioserve_app, **_trioserve_options) as server:
        yield server.url


@pytest.fixture
def _trioserve_app(request: pytest.FixtureRequest) -> "Any":
    """That of the closest marker which has one, or the fixture ``app``.

    It may be positional; but pytest takes a mark with one function and nothing else for a decorator of that function.
    """
    for mark in request.node.iter_markers("trioserve"):
        if mark.args or "app" in mark.kwargs:
            return mark.kwargs["app"] if "app" in mark.kwargs else mark.args[0]
    try:
        return request.getfixturevalue("app")
    except pytest.FixtureLookupError as exc:
        if exc.argname != "app":
            raise
        return pytest.fail(HELP, pytrace=False)


@pytest.fixture
def _trioserve_options(request: pytest.FixtureRequest) -> "dict[str, Any]":
    """Those of all markers; the closest one wins."""
    marks = list(request.node.iter_markers("trioserve"))
    return {name: value for mark in reversed(marks) for name, value in mark.kwargs.items() if name != "app"}


@pytest.fixture
async def _trioserve_server(
    _trioserve_app: "Any", _trioserve_options: "dict[str, Any]"
) -> "AsyncIterator[MemoryServer]":
    from trioserve.testing import open_test_server

    async with open_test_server(_trioserve_app, **_trioserve_options) as server:
        yield server


@pytest.fixture
async def _trioserve_client(_trioserve_server: "MemoryServer") -> "AsyncIterator[httpx.AsyncClient]":
    async with _trioserve_server.client() as client:
        yield client


def _kind_of(request: pytest.FixtureRequest) -> str:
    """Which of the fixtures fits the plugin that runs the test."""
    is_of_another = request.node.get_closest_marker("trio") is not None or "anyio_backend" in request.fixturenames
    is_of_asyncio = _has_pytest_asyncio(request.config) and request.node.get_closest_marker("asyncio") is not None
    if is_of_another and is_of_asyncio:
        return pytest.fail(TWO_PLUGINS, pytrace=False)
    if is_of_another:
        return ""
    if is_of_asyncio:
        return "_of_asyncio"
    return pytest.fail(NOT_ASYNC, pytrace=False)


def _has_pytest_asyncio(config: pytest.Config) -> bool:
    """It has another name when it was named with ``-p``."""
    return any(config.pluginmanager.hasplugin(name) for name in ("asyncio", "pytest_asyncio.plugin"))
