"""Applications that go on after their responses, wait now and then, and leave the requests after them alone."""

import anyio
import pytest
import trio

from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, receive_response
from trioserve._connection.relay import MOST_IN_RESERVE
from trioserve._types import Receive, Scope, Send


@pytest.mark.parametrize("pauses", [1, 2, 50])
@pytest.mark.parametrize("in_a_child", [False, True])
async def test_requests_are_answered_while_earlier_applications_go_on(pauses: int, in_a_child: bool) -> None:
    ended: list[str] = []

    async def answer(send: Send) -> None:
        await anyio.sleep(1)  # meanwhile the others wait, and go on, and wait
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await anyio.sleep(1)
        await send({"type": "http.response.body", "body": b"ok"})

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if in_a_child:
            async with anyio.create_task_group() as children:
                children.start_soon(answer, send)
        else:
            await answer(send)
        for _ in range(pauses):
            await anyio.sleep(0.3)
        ended.append(scope["path"])

    targets = [f"/{number}" for number in range(5)]
    async with serving(app) as site:
        client = site.connect()
        for target in targets:
            await client.send_all(get(target))
            with anyio.fail_after(2.5):
                assert await receive_response(client) == ok(b"ok")
        await anyio.sleep(100)
        assert site.connections == 0  # idle for longer than keep-alive
        await client.aclose()
    assert sorted(ended) == targets


@pytest.mark.trio
@pytest.mark.parametrize("at_a_time", [1, 3, 2 * MOST_IN_RESERVE])
async def test_tasks_that_have_ended_wait_for_requests_again(
    at_a_time: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Beside the first of them, which has the connection itself to begin with."""
    tasks: list[trio.lowlevel.Task] = []
    rounds = 6

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.append(trio.lowlevel.current_task())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
        await anyio.sleep(1)

    async with serving(app) as site:
        client = site.connect()
        for _ in range(rounds):
            for _ in range(at_a_time):
                await client.send_all(get("/"))
                assert await receive_response(client) == ok(b"ok")
            await anyio.sleep(2)
        started_anew = rounds * max(0, at_a_time - MOST_IN_RESERVE)
        assert len(set(tasks)) <= at_a_time + 2 + started_anew
        await client.aclose()
        await anyio.sleep(1)
        assert site.connections == 0


async def test_the_client_leaves_while_some_of_them_go_on() -> None:
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
        await anyio.sleep(float(scope["path"][1:]))
        ended.append(scope["path"])

    async with serving(app) as site:
        client = site.connect()
        for target in ("/1", "/2", "/10", "/20"):
            await client.send_all(get(target))
            assert await receive_response(client) == ok(b"ok")
        await anyio.sleep(5)
        await client.aclose()
        await anyio.sleep(10)
        assert ended == ["/1", "/2", "/10"]
        assert site.connections == 1
        await anyio.sleep(10)
        assert ended == ["/1", "/2", "/10", "/20"]
        assert site.connections == 0
