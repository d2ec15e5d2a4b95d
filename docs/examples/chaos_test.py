"""A shop under chaos, on both backends and in virtual time.

    python docs/examples/chaos_test.py
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI

from trioserve.testing import ChaosReport, chaos, run_in_virtual_time

app = FastAPI()


@asynccontextmanager
async def transaction() -> AsyncIterator[None]:
    try:
        yield
    finally:
        with anyio.move_on_after(5, shield=True):  # without the shield chaos finds that the rollback is cut
            await anyio.sleep(0.01)


@app.get("/hats")
async def hats() -> list[str]:
    async with transaction():
        await anyio.sleep(0.1)
    return ["bowler", "fez"]


@app.post("/orders")
async def order(hat: str) -> str:
    async with transaction():
        await anyio.sleep(0.1)
    return f"a {hat}"


async def test_the_shop() -> ChaosReport:
    return await chaos(app, ["GET /hats", "POST /orders?hat=fez"])


if __name__ == "__main__":
    for backend in ("trio", "asyncio"):
        report = run_in_virtual_time(test_the_shop, backend=backend)
        print(f"{backend}: {report.rounds} rounds, nothing found")
