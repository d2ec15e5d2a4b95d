"""Several tasks of one application call ``receive`` and ``send`` at the same time."""

import anyio
import pytest

from tests.helpers.apps import part, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, post, receive_response
from tests.helpers.virtual_clock import settled
from trioserve._types import Message, Receive, Scope, Send


async def test_each_event_of_the_body_goes_to_one_of_those_who_wait() -> None:
    events: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def wait_for_event() -> None:
            events.append(await receive())

        async with anyio.create_task_group() as receiving:
            for _ in range(3):
                receiving.start_soon(wait_for_event)
        await reply(send)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(post(b"", length=2))
        for byte in (b"a", b"b"):
            await settled()
            await client.send_all(byte)
        await settled()
        client.send_eof()
        await client.receive_rest()
    assert sorted(event["type"] for event in events) == ["http.disconnect", "http.request", "http.request"]
    assert {event["body"] for event in events if event["type"] == "http.request"} == {b"a", b"b"}


async def test_messages_of_several_tasks_are_all_sent() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_parts(letter: bytes) -> None:
            for _ in range(10):
                await part(send, letter)
                await anyio.sleep(0.1)

        await start(send, headers=[(b"content-length", b"30")])
        async with anyio.create_task_group() as sending:
            for letter in (b"a", b"b", b"c"):
                sending.start_soon(send_parts, letter)
        await part(send, b"", more=False)

    async with serving(app) as site:
        body = body_of(await site.answer_to(get()))
    assert sorted(body) == sorted(b"abc" * 10)


@pytest.mark.parametrize("credit", [0, 64 * 1024])
async def test_several_tasks_wait_for_a_slow_client(credit: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_part() -> None:
            await part(send, b"x" * 100_000)

        await start(send, headers=[(b"content-length", b"500000")])
        async with anyio.create_task_group() as sending:
            for _ in range(5):
                sending.start_soon(send_part)
        await part(send, b"", more=False)

    async with serving(app, capacity=10_000, credit=credit) as site:
        client = site.connect()
        await client.send_all(get())
        received = 0
        while received < 500_000:
            received += len(await client.receive_some(10_000))
            await anyio.sleep(0.1)


async def test_a_stalled_client_ends_all_who_wait_for_it(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_part(seconds: float) -> None:
            await anyio.sleep(seconds)
            await part(send, b"x" * 100_000)

        await start(send)
        async with anyio.create_task_group() as sending:
            sending.start_soon(send_part, 0)
            sending.start_soon(send_part, 10)

    async with serving(app, timeout_write=30) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(45)
        assert site.connections == 0
    assert caplog.text.count("write-timeout") == 1


async def test_one_of_two_who_wait_for_a_slow_client_is_cancelled() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_impatiently() -> None:
            with anyio.move_on_after(5):
                await part(send, b"x" * 100_000)

        async def send_patiently() -> None:
            await part(send, b"x" * 100_000)

        await start(send)
        async with anyio.create_task_group() as sending:
            sending.start_soon(send_patiently)
            sending.start_soon(send_impatiently)

    async with serving(app, timeout_write=30) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(100)  # the one that still waits is not forgotten
        assert site.connections == 0


async def test_a_child_task_that_outlives_its_request_may_not_send() -> None:  # not a child of the application
    raised: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_late() -> None:
            await anyio.sleep(10)
            try:
                await part(send, b"late")
            except Exception as exc:
                raised.append(exc)

        outside.start_soon(send_late)
        await reply(send, b"in time")

    async with anyio.create_task_group() as outside, serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        assert body_of(await receive_response(client)) == b"in time"
        await anyio.sleep(20)
        await client.send_all(get())
        assert body_of(await receive_response(client)) == b"in time"
        await anyio.sleep(20)
