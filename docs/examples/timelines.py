"""Three requests whose timelines are worth reading.

    trioserve timelines:app --app-dir docs/examples --teach --timeout-request 2s
"""

from typing import Any

import anyio


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await {"/report": report, "/ticks": ticks, "/save": save}[scope["path"]](send)


async def report(send: Any) -> None:
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(prices)
        nursery.start_soon(stock)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"two parts, fetched at the same time\n"})


async def prices() -> None:
    await anyio.sleep(0.3)  # in place of a database


async def stock() -> None:
    with anyio.move_on_after(0.1):  # it may be missing
        await anyio.sleep(60)


async def ticks(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(next_tick)


async def next_tick() -> None:
    await anyio.sleep(60)


async def save(send: Any) -> None:
    try:
        await anyio.sleep_forever()  # a database that does not answer
    finally:
        with anyio.move_on_after(1, shield=True):
            await roll_back()


async def roll_back() -> None:
    await anyio.sleep(0.2)
