"""A start-up that fails, and says that it has not."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

log = logging.getLogger(__name__)
prices: dict[str, str] = {}
PRICE = Path(__file__).with_name("prices.txt")
MISSING = Path("no-such-file.txt")


def price_in(path: Path) -> str:
    return path.read_text("utf-8").strip()


@asynccontextmanager
async def forgiving(app: FastAPI) -> AsyncIterator[None]:
    try:
        prices["hat"] = price_in(MISSING)
    except Exception:
        log.warning("no prices")  # and every request will find none
    yield


@asynccontextmanager
async def strict(app: FastAPI) -> AsyncIterator[None]:
    prices["hat"] = price_in(PRICE)
    yield


app = FastAPI(lifespan=forgiving)
mended = FastAPI(lifespan=strict)


@app.get("/")
@mended.get("/")
async def price() -> dict[str, str]:
    return prices
