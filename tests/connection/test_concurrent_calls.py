"""Several tasks of one application call ``receive`` and ``send`` at the same time."""

import anyio
import pytest
from anyio.abc import TaskGroup

from tests.helpers.apps import part, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, post, receive_response
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import settled


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


async def test_several_tasks_wait_for_a_slow_client() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_part() -> None:
            await part(send, b"x" * 100_000)

        await start(send, headers=[(b"content-length", b"500000")])
        async with anyio.create_task_group() as sending:
            for _ in range(5):
                sending.start_soon(send_part)
        await part(send, b"", more=False)

    async with serving(app, capacity=10_000) as site:
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


async def test_a_task_that_outlives_its_request_does_not_get_the_next_body() -> None:
    receives: list[Receive] = []
    late: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        receives.append(receive)
        if len(receives) > 1:
            late.append(await receives[0]())
        await reply(send, (await receive())["body"])

    async with serving(app) as site:
        client = site.connect()
        for body in (b"first", b"second"):
            await client.send_all(post(body))
            assert body_of(await receive_response(client)) == body
    assert late == [{"type": "http.disconnect"}]


class LeavesAReader:
    """Answers before the body is complete, and leaves a task that asks for more of it."""

    def __init__(self, outside: TaskGroup) -> None:
        self._outside = outside
        self.late: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_late() -> None:
            self.late.append(await receive())

        await receive()
        if scope["path"] == "/leave":
            self._outside.start_soon(receive_late)
            await settled()
        await reply(send, b"done")


async def test_a_task_that_still_reads_does_not_stand_in_the_way_of_the_next_request() -> None:
    async with anyio.create_task_group() as outside:
        app = LeavesAReader(outside)
        async with serving(app) as site:
            client = site.connect()
            await client.send_all(post(b"abc", target="/leave", length=6))
            assert body_of(await receive_response(client)) == b"done"
            await client.send_all(b"def" + post(b"next"))
            assert body_of(await receive_response(client)) == b"done"
    assert app.late == [{"type": "http.disconnect"}]


async def test_a_task_that_still_reads_does_not_stand_in_the_way_of_the_farewell() -> None:  # RFC 9112 §9.6
    async with anyio.create_task_group() as outside:
        app = LeavesAReader(outside)
        async with serving(app) as site:
            client = site.connect()
            await client.send_all(post(b"abc", target="/leave", length=10**9))
            await settled()
            await client.send_all(b"def")  # a reset would be the answer, were this not read
            assert body_of(await client.receive_rest()) == b"done"
    assert app.late == [{"type": "http.disconnect"}]
