"""Random requests on one connection, of applications that wait before, between and after their messages."""

import random
from dataclasses import dataclass, field

import anyio
import pytest

from tests.helpers.apps import part, read_body, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import receive_response, status_of
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would double their time

REQUESTS = 30


@dataclass
class Plan:
    """What the application does with one request; times in seconds, of which several may end at once."""

    number: int
    body: bytes
    reads: bool
    waits: list[float]  # before the response
    parts: list[bytes]
    pause: float  # between the parts
    work: list[float]  # after the response
    listens: bool  # another task of its own waits in receive() all the time
    fails: bool  # in the end
    works_done: bool = field(default=False)


def random_plan(number: int, rng: random.Random) -> Plan:
    def times(most: int) -> list[float]:
        return [rng.choice((0.0, 0.5, 1.0)) for _ in range(rng.randint(0, most))]

    return Plan(
        number=number,
        body=rng.choice((b"", b"", b"body", b"x" * 10_000)),
        reads=rng.random() < 0.6,
        waits=times(2),
        parts=[b"p%d*" % index * rng.choice((1, 1, 30_000)) for index in range(rng.randint(0, 3))],
        pause=rng.choice((0.0, 0.0, 0.5)),
        work=times(4),
        listens=rng.random() < 0.3,
        fails=rng.random() < 0.1,
    )


class PlannedApp:
    def __init__(self, plans: list[Plan]) -> None:
        self.plans = plans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plan = self.plans[int(scope["path"][1:])]
        if plan.reads:
            assert await read_body(receive) == plan.body
        if not plan.listens:
            await self.answer_and_work(plan, send)
            return

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        async with anyio.create_task_group() as children:
            children.start_soon(listen)
            await self.answer_and_work(plan, send)

    async def answer_and_work(self, plan: Plan, send: Send) -> None:
        for seconds in plan.waits:
            await anyio.sleep(seconds)
        await start(send, headers=[(b"x-number", b"%d" % plan.number)])
        for data in plan.parts:
            await part(send, data)
            if plan.pause:
                await anyio.sleep(plan.pause)
        await part(send, b"", more=False)
        for seconds in plan.work:
            await anyio.sleep(seconds)
        plan.works_done = True
        if plan.fails:
            raise ValueError("as planned")


def request_of(plan: Plan) -> bytes:
    head = b"POST /%d HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (plan.number, len(plan.body))
    return head + plan.body


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("pipelined", [False, True])
async def test_every_request_is_answered_in_order_and_all_work_is_done(
    seed: int, pipelined: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(seed)
    plans = [random_plan(number, rng) for number in range(REQUESTS)]
    app = PlannedApp(plans)
    async with serving(app, timeout_graceful_shutdown=1000, access_log=True) as site:
        client = site.connect()
        async with anyio.create_task_group() as sending:
            if pipelined:
                sending.start_soon(client.send_all, b"".join(map(request_of, plans)))
            for plan in plans:
                if not pipelined:
                    await client.send_all(request_of(plan))
                response = await receive_response(client)
                assert status_of(response) == 200
                assert b"x-number: %d\r\n" % plan.number in response
                assert response.count(b"*") == sum(data.count(b"*") for data in plan.parts)
                if rng.random() < 0.3:
                    await anyio.sleep(rng.choice((0.0, 0.5, 1.0)))
        await anyio.sleep(50)
        await settled()
        assert all(plan.works_done for plan in plans)
        assert not client.is_disconnected()
        await client.aclose()
        await settled()
        assert site.connections == 0
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == sum(plan.fails for plan in plans)
    assert all(record.getMessage().startswith("Exception in the application") for record in errors)
