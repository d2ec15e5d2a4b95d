"""An application whose threads do not end: each path starts one in another way."""

import asyncio
import atexit
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio.to_thread
import sniffio

executor = ThreadPoolExecutor(thread_name_prefix="own executor")


def wait_for_ever() -> None:
    threading.Event().wait()


def start_thread() -> None:
    threading.Thread(target=wait_for_ever, name="own thread").start()


def use_own_executor() -> None:
    executor.submit(wait_for_ever)


def use_loops_executor() -> None:
    """asyncio's; trio's threads are daemons and hold up nothing."""
    if sniffio.current_async_library() == "asyncio":
        asyncio.get_running_loop().run_in_executor(None, wait_for_ever)
    else:
        use_own_executor()


def start_kernel() -> None:
    """A daemon with an event loop of its own, whose pool consists of daemons, therefore; as marimo's sessions have."""
    pool_works = threading.Event()
    atexit.register(sys.stderr.write, "an exit function\n")

    def work() -> None:
        pool_works.set()
        wait_for_ever()

    async def kernel() -> None:
        await asyncio.get_running_loop().run_in_executor(None, work)

    threading.Thread(target=asyncio.run, args=[kernel()], daemon=True).start()
    pool_works.wait()


PATHS: dict[str, Callable[[], None]] = {
    "/thread": start_thread, "/executor": use_own_executor, "/loops-executor": use_loops_executor,
    "/kernel": start_kernel, "/nothing": lambda: None,
}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    if scope["path"] == "/endpoint":  # as a framework runs a plain function
        await anyio.to_thread.run_sync(wait_for_ever)
    if scope["path"] == "/plain":  # the same, and it goes on in a pool
        await anyio.to_thread.run_sync(use_own_executor)
        scope = {**scope, "path": "/nothing"}
    PATHS[scope["path"]]()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"started"})


async def with_lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Its lifespan starts a thread, and then starts and stops as it should."""
    if scope["type"] != "lifespan":
        return await app(scope, receive, send)
    await receive()
    start_thread()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def failing(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Its lifespan starts a thread, and then fails."""
    await receive()
    use_loops_executor()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def tidy(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Its lifespan ends the thread that it has started."""
    if scope["type"] != "lifespan":
        return await app(scope, receive, send)
    ended = threading.Event()
    await receive()
    threading.Thread(target=ended.wait).start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    ended.set()
    await send({"type": "lifespan.shutdown.complete"})
