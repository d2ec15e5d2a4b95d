"""A start-up that fails, and says that it has not."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

log = logging.getLogger(__name__)
prices: dict[str, str] = {}


def read_price(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8").strip()


@asynccontextmanager
async def forgiving(app: FastAPI) -> AsyncIterator[None]:
    try:
        prices["hat"] = read_price("no-such-file.txt")
    except Exception:
        log.warning("no prices")  # and every request will find none
    yield


@asynccontextmanager
async def strict(app: FastAPI) -> AsyncIterator[None]:
    prices["hat"] = read_price("prices.txt")
    yield


app = FastAPI(lifespan=forgiving)
mended = FastAPI(lifespan=strict)


@app.get("/")
@mended.get("/")
async def price() -> dict[str, str]:
    return prices
