"""A shop whose requests last long enough to be watched in the task tree.

    trioserve --app-dir docs/examples shop_to_watch:app --admin 127.0.0.1:9000

    curl "http://127.0.0.1:8000/offers?seconds=20"      three child tasks, and a deadline
    curl -X POST "http://127.0.0.1:8000/orders?seconds=20"   work that goes on after the response
    curl "http://127.0.0.1:8000/export"                 a response that goes on until somebody stops it
    curl "http://127.0.0.1:8000/hang"                   waits for what never comes

``/updates`` is a WebSocket. Everything else is answered at once.
"""

from typing import Any
from urllib.parse import parse_qs

import anyio

DEADLINE_SECONDS = 30.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["type"] == "websocket":
        return await updates(receive, send)
    seconds = float(parse_qs(scope["query_string"].decode()).get("seconds", ["5"])[0])
    match scope["path"]:
        case "/offers":
            await answer(send, await collect_offers(seconds))
        case "/orders":
            await answer(send, b"thank you\n")
            await send_confirmation(seconds)
        case "/export":
            await export(send)
        case "/hang":
            await reserve_stock()
        case _:
            await answer(send, b"hello\n")


async def lifespan(receive: Any, send: Any) -> None:
    """Fetch the prices again and again, as long as the shop is open."""
    await receive()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refresh_prices, name="refresh prices")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        tasks.cancel_scope.cancel()
    await send({"type": "lifespan.shutdown.complete"})


async def refresh_prices() -> None:
    for _ in range(1_000_000):
        await anyio.sleep(60)  # the prices of this shop are always the same


async def answer(send: Any, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


async def collect_offers(seconds: float) -> bytes:
    """Ask three services at once, and do without those that are late."""
    answers = []

    async def ask(service: str, service_seconds: float) -> None:
        await anyio.sleep(service_seconds)
        answers.append(service)

    with anyio.move_on_after(DEADLINE_SECONDS):
        async with anyio.create_task_group() as services:
            services.start_soon(ask, "stock", seconds, name="ask stock")
            services.start_soon(ask, "prices", seconds * 2, name="ask prices")
            services.start_soon(ask, "reviews", seconds * 3, name="ask reviews")
    return f"{', '.join(answers) or 'nobody'}\n".encode()


async def send_confirmation(seconds: float) -> None:
    """The customer has the answer already. Whoever cancels this, the letter is finished first."""
    with anyio.CancelScope(shield=True):
        await anyio.sleep(seconds)


async def export(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/csv")]})
    for number in range(1_000_000):
        await send({"type": "http.response.body", "body": b"%d,hat,25.00\n" % number, "more_body": True})
        await anyio.sleep(0.05)


async def reserve_stock() -> None:
    await lock_row("hat")


async def lock_row(name: str) -> None:
    never_released = anyio.Event()
    await never_released.wait()


async def updates(receive: Any, send: Any) -> None:
    """Tell one client of every new price, until it leaves."""
    await receive()
    await send({"type": "websocket.accept"})

    async def tell() -> None:
        for price in range(25, 1_000_000):
            await send({"type": "websocket.send", "text": f"hat {price}"})
            await anyio.sleep(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell, name="tell prices")
        while (await receive())["type"] != "websocket.disconnect":
            pass
        tasks.cancel_scope.cancel()
