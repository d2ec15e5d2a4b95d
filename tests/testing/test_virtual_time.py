"""Virtual time: what jumps, what stands still, and what is an error."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio
import trio.testing

from tests.helpers.apps import hello, reply
from trioserve._server.application.wsgi import WsgiApp
from trioserve._types import Receive, Scope, Send
from trioserve.testing import (
    MemoryServer,
    VirtualClockLoop,
    VirtualTimeStuck,
    clock_is_virtual,
    open_test_server,
    raw_request,
    run_in_virtual_time,
    seconds_passed,
    settled,
    virtual_backend,
    virtual_loop,
)


async def test_an_hour_passes_at_once() -> None:
    assert clock_is_virtual()
    with seconds_passed() as elapsed:
        await anyio.sleep(3600)
    assert elapsed.seconds == 3600


@pytest.mark.real_clock
async def test_a_real_clock_is_none() -> None:
    assert not clock_is_virtual()


async def test_settled_waits_without_time() -> None:
    steps: list[str] = []

    async def work() -> None:
        for step in "abc":
            await anyio.lowlevel.checkpoint()
            steps.append(step)
        await anyio.sleep(1)
        steps.append("later")

    with seconds_passed() as elapsed:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(work)
            await settled()
            assert steps == ["a", "b", "c"]
            nursery.cancel_scope.cancel()
    assert elapsed.seconds == 0


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_run_of_its_own(backend: str) -> None:
    async def sleep(seconds: float) -> str:
        await anyio.sleep(seconds)
        return "rested"

    assert run_in_virtual_time(sleep, 3600, backend=backend) == "rested"


def test_a_backend_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="no backend 'uvloop'"):
        virtual_backend("uvloop")


def test_settled_says_what_it_needs() -> None:
    with pytest.raises(RuntimeError, match="needs a VirtualClockLoop"):
        asyncio.run(settled())


@pytest.mark.parametrize(
    ("backend", "in_thread"),
    [("asyncio", asyncio.to_thread), ("asyncio", anyio.to_thread.run_sync), ("trio", anyio.to_thread.run_sync),
     ("trio", trio.to_thread.run_sync)], ids=["asyncio", "anyio-asyncio", "anyio-trio", "trio"])
def test_time_stands_still_while_a_thread_works(backend: str, in_thread: object) -> None:
    async def main() -> None:
        with seconds_passed() as elapsed, anyio.fail_after(1):
            await in_thread(time.sleep, 0.05)  # type: ignore[operator]
        assert elapsed.seconds == 0
        await anyio.sleep(1)  # and goes on afterwards

    run_in_virtual_time(main, backend=backend)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_thread_that_does_not_end_is_an_error(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_loop, "REAL_SECONDS", 0.05)
    ended = threading.Event()

    async def main() -> None:
        with anyio.fail_after(3600):
            await anyio.to_thread.run_sync(ended.wait, abandon_on_cancel=True)

    with pytest.raises(VirtualTimeStuck, match="1 threads work"):
        run_in_virtual_time(main, backend=backend)
    ended.set()


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_tasks_that_wait_for_each_other_are_an_error(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_loop, "REAL_SECONDS", 0.05)
    with pytest.raises(VirtualTimeStuck, match="every task waits"):
        run_in_virtual_time(anyio.sleep_forever, backend=backend)


def test_the_default_executor_is_shut_down_in_real_time() -> None:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        assert runner.run(asyncio.to_thread(int, "7")) == 7


async def test_servers_share_the_watch_over_threads() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.fail_after(1):
            await anyio.to_thread.run_sync(time.sleep, 0.05)
        await reply(send, b"done")

    async def ask(server: MemoryServer) -> None:
        client = server.connect()
        await client.send(raw_request(headers={"connection": "close"}))
        assert (await client.receive_rest()).endswith(b"done")

    with seconds_passed() as elapsed:
        async with open_test_server(app, lifespan="off") as one:
            async with open_test_server(app, lifespan="off") as other:
                await ask(other)
            await ask(one)
    assert elapsed.seconds == 0
    await anyio.sleep(1)


@pytest.mark.trio
async def test_the_block_of_a_server_that_is_stuck_is_cancelled(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_loop, "REAL_SECONDS", 0.05)
    never = threading.Event()
    with pytest.raises(VirtualTimeStuck):
        async with open_test_server(hello, lifespan="off"):
            await trio.to_thread.run_sync(never.wait, abandon_on_cancel=True)
    never.set()


def hello_wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Reads the body, and takes its time."""
    data = environ["wsgi.input"].read()
    time.sleep(0.05)
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"{len(data)} bytes".encode()]


async def test_the_threads_of_wsgi_take_no_time() -> None:
    async with open_test_server(hello_wsgi) as server, server.client() as client:
        with seconds_passed() as elapsed:
            answer = await client.post("/", content=bytes(100_000), timeout=1)
        assert answer.text == "100000 bytes"
        assert elapsed.seconds == 0


async def test_a_thread_of_wsgi_that_waits_for_its_client_lets_time_pass() -> None:
    async with open_test_server(hello_wsgi) as server:
        client = server.connect()
        request = raw_request("POST", "/", bytes(3000), headers={"connection": "close"})
        with seconds_passed() as elapsed:
            await client.send_slowly(request, bytes_per_second=1000)
            assert b"3000 bytes" in await client.receive_rest()
        assert elapsed.seconds == 3


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_thread_of_wsgi_that_does_not_end_is_an_error(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_loop, "REAL_SECONDS", 0.05)
    ended = threading.Event()

    def hangs(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        ended.wait()
        return []

    async def main() -> None:
        async with open_test_server(hangs) as server, server.client() as client:
            await client.get("/", timeout=None)

    with pytest.raises(VirtualTimeStuck, match="1 threads work"):
        run_in_virtual_time(main, backend=backend)
    ended.set()


async def test_a_thread_of_wsgi_that_ends_while_its_client_is_slow_lets_time_pass() -> None:
    ended = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        time.sleep(0.1)  # the first part waits for the client by now
        yield b"b"
        ended.set()

    async def send(message: dict[str, Any]) -> None:
        await anyio.sleep(3600)

    scope: Scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "", "headers": [],
        "raw_path": b"/", "query_string": b"", "server": None, "client": None}
    async with open_test_server(hello):  # for its clock
        await WsgiApp(app, 1)(scope, anyio.sleep_forever, send)  # type: ignore[arg-type]  # nobody receives
    assert ended.is_set()
