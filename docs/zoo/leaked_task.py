"""A mail that is sent by a task of nobody's. It is written for asyncio."""

import asyncio
from typing import Any

sent: list[int] = []


async def send_mail(number: int) -> None:
    await asyncio.sleep(5)
    sent.append(number)


async def answer(send: Any) -> None:
    await send({"type": "http.response.start", "status": 202})
    await send({"type": "http.response.body", "body": b"You will get a mail.\n"})


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    asyncio.create_task(send_mail(1))  # noqa: RUF006  # the fault
    await answer(send)


async def mended(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    async with asyncio.TaskGroup() as tasks:  # the request's; the server waits for it, and cancels it in the end
        tasks.create_task(send_mail(1))
        await answer(send)
