"""A FastAPI application with a deadline of its own, a step that is never half done, and work after the response.

    trioserve --app-dir docs/examples fastapi_scope:app
"""

from typing import Annotated

import anyio
from fastapi import Depends, FastAPI

from trioserve.extensions import RequestScope, Tasks, background_tasks, request_scope

app = FastAPI()
mails: list[str] = []


@app.post("/orders/{number}")
async def order(
    number: int,
    request: Annotated[RequestScope, Depends(request_scope)],
    tasks: Annotated[Tasks, Depends(background_tasks)],
) -> dict[str, int]:
    request.deadline = anyio.current_time() + 10  # then 504, and the log says "deadline"
    if number > 1_000_000:
        request.cancel("no-such-order")  # 503, and the log says "no-such-order"
        await anyio.sleep_forever()  # the cancellation comes here
    with request.shielded():  # the client may leave, and the ten seconds may be over
        await charge(number)
    tasks.start(send_mail, number, name=f"mail for order {number}")  # a shutdown waits for it
    return {"order": number}


async def charge(number: int) -> None:
    await anyio.sleep(0.01)  # a conversation with a bank


async def send_mail(number: int) -> None:
    await anyio.sleep(0.01)
    mails.append(f"order {number} is on its way")
