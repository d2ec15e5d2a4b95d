"""A program with a server in it: ``python embedded.py trio|asyncio SCENARIO`` prints what happens, line by line.

Only the server's start is written for the one or the other: in the way that each has for starting a task.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import anyio
import httpx
import trio

import trioserve

BEFORE = signal.getsignal(signal.SIGTERM)  # the default, or what a coverage run has put there

Running: TypeAlias = tuple[str, Callable[[], object]]       # the server's URL; how to stop it
Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Running]]


class App:
    """Says when its lifespan begins and ends; ``/slow`` lets others go on before it answers."""

    def __init__(self) -> None:
        self.entered = anyio.Event()
        self.dying = anyio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
            return
        if scope["path"] == "/slow":
            self.entered.set()
            await anyio.sleep(0.2)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async def lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        print("lifespan begins")
        await send({"type": "lifespan.startup.complete"})
        async with anyio.create_task_group() as children:
            children.start_soon(self.die_when_told)
            await receive()
            children.cancel_scope.cancel()
        print("lifespan ends")
        await send({"type": "lifespan.shutdown.complete"})

    async def die_when_told(self) -> None:
        await self.dying.wait()
        raise ValueError("on purpose, in the lifespan")


# One server, in trio's way and in asyncio's.


@asynccontextmanager
async def serve_on_trio(app: Any, **options: Any) -> AsyncIterator[Running]:
    async with trio.open_nursery() as nursery:
        config = trioserve.Config(port=0, **options)
        [(host, port)] = await nursery.start(trioserve.serve, app, config)
        yield f"http://{host}:{port}", nursery.cancel_scope.cancel


class Ready(asyncio.Future[list[tuple[str, int]]]):
    """What ``nursery.start`` would wait for."""

    def started(self, value: Any = None) -> None:
        self.set_result(value)


@asynccontextmanager
async def serve_on_asyncio(app: Any, **options: Any) -> AsyncIterator[Running]:
    async with asyncio.TaskGroup() as tasks:
        ready = Ready()
        config = trioserve.Config(port=0, **options)
        server = tasks.create_task(trioserve.serve(app, config, task_status=ready))
        [(host, port)] = await ready
        yield f"http://{host}:{port}", server.cancel


@asynccontextmanager
async def serve_on_anyio(app: Any, **options: Any) -> AsyncIterator[Running]:
    async with anyio.create_task_group() as nursery:
        [(host, port)] = await nursery.start(partial(trioserve.serve, app, port=0, **options))
        yield f"http://{host}:{port}", nursery.cancel_scope.cancel


# What happens.


async def visit(serve: Serve) -> None:
    async with serve(App()) as (url, stop), httpx.AsyncClient(trust_env=False) as client:
        for path in ("/one", "/two"):
            print((await client.get(url + path)).text)
        stop()
    print("stopped")


async def cancel_with_a_request_in_progress(serve: Serve) -> None:
    app = App()

    async def get(url: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            response = await client.get(url)
            print(response.text, response.headers["connection"])

    async with anyio.create_task_group() as visitors, serve(app) as (url, stop):
        visitors.start_soon(get, f"{url}/slow")
        await app.entered.wait()
        stop()
        stop()      # asking again changes nothing
    print("stopped")


async def leave_the_program_alone(serve: Serve) -> None:
    async with serve(App()) as (_, stop):
        print(signal.getsignal(signal.SIGTERM) == BEFORE)
        print(logging.getLogger("trioserve").handlers, logging.getLogger("trioserve.access").handlers)
        stop()


async def two_servers(serve: Serve) -> None:
    async with (
        serve(App()) as (first, stop_first), serve(App()) as (second, stop_second),
        httpx.AsyncClient(trust_env=False) as client,
    ):
        for url, path in ((first, "/first"), (second, "/second")):
            print((await client.get(url + path)).text)
        stop_first()
        stop_second()
    print("stopped")


async def bind_failed(serve: Serve) -> None:
    async with serve(App()) as (_, stop):
        try:
            async with serve(App(), host="192.0.2.1"):      # TEST-NET-1: nobody's address
                print("started")
        except* trioserve.BindFailed as group:
            print(*map(describe, group.exceptions))
        stop()


async def lifespan_dies(serve: Serve) -> None:
    app = App()
    try:
        async with serve(app):
            app.dying.set()
            await anyio.sleep(10)
            print("nobody was told")
    except* trioserve.LifespanDied as group:
        print(*map(describe, group.exceptions))


def describe(exc: BaseException) -> str:
    return describe(exc.exceptions[0]) if isinstance(exc, BaseExceptionGroup) else f"{type(exc).__name__}: {exc}"


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        visit, cancel_with_a_request_in_progress, leave_the_program_alone, two_servers, bind_failed, lifespan_dies)
}


async def main(library: str, scenario: str, serve: Serve) -> None:
    await SCENARIOS[scenario](serve)
    if library == "asyncio":
        print("tasks left:", len(asyncio.all_tasks()) - 1)
    else:
        print("tasks left:", sum(len(nursery.child_tasks) for nursery in trio.lowlevel.current_task().child_nurseries))


if __name__ == "__main__":
    _, way, name = sys.argv
    if way == "trio":
        trio.run(main, "trio", name, serve_on_trio)
    elif way == "asyncio":
        asyncio.run(main("asyncio", name, serve_on_asyncio))
    else:
        anyio.run(main, way.removeprefix("anyio-"), name, serve_on_anyio, backend=way.removeprefix("anyio-"))
