"""Servers on real sockets: in a thread, and in the background."""

import asyncio
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.certificates import client_context, identity
from trioserve import BindFailed, ConfigError, LifespanDied, StartupFailed
from trioserve._types import Receive, Scope, Send
from trioserve.testing import serve_background, serve_in_thread


@pytest.fixture(params=["trio", "asyncio", "uvloop"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "trio":
        return {"backend": "trio"}
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return {"backend": "asyncio", "loop": request.param}


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:
        return str(response.read().decode())


def lifespan_app(fails: str = "") -> Callable[..., Any]:
    """Its lifespan may fail at its start, or later: with the first request."""
    events: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            may_die.set()
            await reply(send, repr(events).encode())
            return
        events.append((await receive())["type"])
        if fails == "startup":
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        await send({"type": "lifespan.startup.complete"})
        if fails == "later":
            await may_die.wait()
            raise OSError("the database has gone")
        events.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})

    may_die = anyio.Event()
    app.events = events  # type: ignore[attr-defined]
    return app


def test_a_server_in_a_thread(options: dict[str, Any]) -> None:
    app = lifespan_app()
    with serve_in_thread(app, **options) as server:
        assert server.url == f"http://127.0.0.1:{server.addresses[0][1]}"
        assert get(f"{server.url}/") == "['lifespan.startup']"
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="refused"):
        get(f"{server.url}/")


def test_a_lifespan_that_fails_is_an_error_of_the_caller(options: dict[str, Any]) -> None:
    with pytest.raises(StartupFailed, match="no database"), serve_in_thread(lifespan_app("startup"), **options):
        raise AssertionError


def test_a_lifespan_that_dies_is_an_error_at_the_end(options: dict[str, Any]) -> None:
    with pytest.raises(LifespanDied), serve_in_thread(lifespan_app("later"), **options) as server:
        get(f"{server.url}/")
        server._thread.join(30)


def test_an_error_of_the_block_comes_first() -> None:
    with pytest.raises(KeyError, match="mine") as raised, serve_in_thread(lifespan_app("later")) as server:
        get(f"{server.url}/")
        server._thread.join(30)
        raise KeyError("mine")
    assert raised.value.__notes__ == [
        "The server had stopped before: LifespanDied(\"the application's lifespan died while the server was running\")"]


def test_an_address_that_is_in_use() -> None:
    with serve_in_thread(hello) as server, pytest.raises(BindFailed):
        serve_in_thread(hello, port=server.addresses[0][1]).start()


def test_options_are_checked_where_they_are_given() -> None:
    with pytest.raises(ConfigError, match="timeout_keepalive"):
        serve_in_thread(hello, timeout_keepalive=3)
    with pytest.raises(ConfigError, match="use it with --backend asyncio"):
        serve_in_thread(hello, backend="trio", loop="uvloop").start()


def test_start_and_stop_without_a_block() -> None:
    server = serve_in_thread(hello).start()
    assert get(f"{server.url}/cell") == "/cell"
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError, match="once"):
        server.start()


def test_a_request_in_progress_is_finished() -> None:
    begun = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await anyio.sleep(0.2)
        await reply(send, b"finished")

    with ThreadPoolExecutor() as pool:
        with serve_in_thread(app, lifespan="off") as server:
            answer = pool.submit(get, f"{server.url}/")
            assert begun.wait(30)
        assert answer.result() == "finished"


def test_in_a_thread_that_is_not_the_main_one() -> None:
    def use() -> str:
        with serve_in_thread(hello) as server:
            return get(f"{server.url}/elsewhere")

    with ThreadPoolExecutor() as pool:
        assert pool.submit(use).result() == "/elsewhere"


@pytest.mark.real_clock
async def test_where_an_event_loop_is_running() -> None:
    with serve_in_thread(hello) as server:
        assert await anyio.to_thread.run_sync(get, f"{server.url}/cell") == "/cell"


def test_two_at_once() -> None:
    with serve_in_thread(hello) as one, serve_in_thread(hello, backend="asyncio") as other:
        assert one.url != other.url
        assert get(f"{one.url}/1") + get(f"{other.url}/2") == "/1/2"


def test_tls_and_unix_sockets(tmp_path: Path) -> None:
    with serve_in_thread(hello, ssl_context=identity().context) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert httpx.get(f"{server.url}/tls", verify=client_context()).text == "/tls"
    with serve_in_thread(hello, uds=str(tmp_path / "app.sock")) as server:
        assert server.url == f"unix:{tmp_path}/app.sock"
    with serve_in_thread(hello, host="0.0.0.0") as server:
        assert get(f"{server.url}/all") == "/all"


@pytest.mark.real_clock
async def test_a_server_in_the_background() -> None:
    app = lifespan_app()
    async with serve_background(app) as server, httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/")).text == "['lifespan.startup']"
        server.request_shutdown()
    assert app.events == ["lifespan.startup", "lifespan.shutdown"]  # type: ignore[attr-defined]


@pytest.mark.real_clock
async def test_errors_in_the_background() -> None:
    with pytest.raises(StartupFailed, match="no database"):
        async with serve_background(lifespan_app("startup")):
            raise AssertionError
    with pytest.raises(KeyError, match="mine"):
        async with serve_background(hello):
            raise KeyError("mine")


async def test_the_background_of_a_virtual_clock_is_refused() -> None:
    with pytest.raises(RuntimeError, match="take open_test_server"):
        async with serve_background(hello):
            raise AssertionError


def test_where_asyncio_is_running_already_as_in_jupyter() -> None:
    async def cell() -> str:
        async with serve_background(hello) as server, httpx.AsyncClient(base_url=server.url) as client:
            return (await client.get("/cell")).text

    assert asyncio.run(cell()) == "/cell"
