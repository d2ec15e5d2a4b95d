"""Quart itself, which knows asyncio only, and reports what its start-up raised by the text of the exception."""

import asyncio

from quart import Quart

app = Quart(__name__)


@app.before_serving
async def start() -> None:
    asyncio.get_running_loop()
