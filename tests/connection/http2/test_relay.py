"""Which tasks run the requests of one HTTP/2 connection, and what becomes of a task that has ended its request."""

import logging
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
import trio

from tests.helpers.apps import part, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.http2_numbers import INITIAL_WINDOW_SIZE
from tests.helpers.serving import serving
from trioserve._connection.relay import MOST_IN_RESERVE, Relay
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

ROUNDS = 5


class Waiting:
    """Waits, and remembers in which tasks."""

    def __init__(self) -> None:
        self.tasks: list[anyio.TaskInfo] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.tasks.append(anyio.get_current_task())
        await anyio.sleep(1)
        await reply(send, b"waited")


@pytest.mark.trio
@pytest.mark.parametrize("at_a_time", [1, 3, MOST_IN_RESERVE, 2 * MOST_IN_RESERVE])
async def test_a_task_that_has_ended_its_request_is_used_again(
    options: dict[str, Any], at_a_time: int, autojump_clock: trio.testing.MockClock
) -> None:
    """One more than there are requests in progress: it holds the connection."""
    app = Waiting()
    async with serving(app, **options) as site, http2_client(site) as client:
        for _ in range(ROUNDS):
            asked = [await client.ask() for _ in range(at_a_time)]
            assert [(await client.answer(stream)).body for stream in asked] == [b"waited"] * at_a_time
    assert len(app.tasks) == ROUNDS * at_a_time
    started_anew = (ROUNDS - 1) * max(0, at_a_time - MOST_IN_RESERVE)
    assert len({task.id for task in app.tasks}) <= at_a_time + 1 + started_anew


async def test_a_task_that_is_used_again_keeps_no_context(options: dict[str, Any]) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="")
    seen: set[str] = set()

    async def child() -> None:
        seen.add(variable.get())
        variable.set("child")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.add(variable.get())
        variable.set("begun")
        await anyio.sleep(1)
        async with anyio.create_task_group() as children:
            children.start_soon(child)
        assert variable.get() == "begun"
        variable.set("waited")
        await reply(send)

    async with serving(app, **options) as site, http2_client(site) as client:
        for _ in range(ROUNDS):
            for stream in [await client.ask() for _ in range(3)]:
                assert (await client.answer(stream)).status == 200
    assert seen == {"", "begun"}


async def test_tasks_in_reserve_do_not_keep_the_connection(options: dict[str, Any]) -> None:
    async with serving(Waiting(), **options) as site:
        async with http2_client(site) as client:
            asked = [await client.ask() for _ in range(3)]
            for stream in asked:
                await client.answer(stream)
            assert site.connections == 1
        await settled()
        assert site.connections == 0


async def test_a_cancellation_that_comes_too_late_is_not_the_next_requests(options: dict[str, Any]) -> None:
    """The application has ended, and what it has sent still waits for a window, when somebody cancels the stream."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/cut":
            await start(send)
            with anyio.move_on_after(1):
                await part(send, bytes(1000))
            raise RuntimeError("cut short")
        await anyio.sleep(1)
        await reply(send, b"waited")

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 100}) as client:
        client.takes_bodies = False
        await client.head(await client.ask("/cut"))
        connection = site.only_connection
        [look] = connection.look().requests
        await anyio.sleep(1.5)
        assert not connection.look().requests
        streams = [await client.ask() for _ in range(3)]
        await settled()
        assert look.cancel is not None
        look.cancel("late")
        assert [(await client.answer(stream)).body for stream in streams] == [b"waited"] * 3


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_task_whose_request_was_cancelled_is_not_used_again(options: dict[str, Any], swallows: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep(100 if scope["path"] == "/slow" else 1)
        except anyio.get_cancelled_exc_class():
            if not swallows:
                raise
            return
        await reply(send, b"waited")

    options["timeout_request"] = 10
    async with serving(app, **options) as site, http2_client(site) as client:
        for _ in range(ROUNDS):
            slow = await client.ask("/slow")
            assert (await client.get("/quick")).body == b"waited"
            assert (await client.answer(slow)).status == 504


async def test_the_end_of_the_server_while_tasks_are_in_reserve(options: dict[str, Any]) -> None:
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/quick":
            await anyio.sleep(1)
            await reply(send, b"waited")
            return
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    options["timeout_graceful_shutdown"] = 5
    async with serving(app, **options) as site, http2_client(site) as client:
        quick = [await client.ask("/quick") for _ in range(3)]
        for stream in quick:
            await client.answer(stream)
        await client.ask("/endless")
        await settled()
        site.server.request_shutdown("test")
        await client.until_end()
        assert ended.is_set()


@pytest.mark.trio
async def test_a_connection_that_breaks_before_its_next_holder_runs(
    options: dict[str, Any], autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """That one, which was in reserve, still sees to the end: no timeout strikes a connection that is not there."""
    breaks = False

    def hand_on(relay: Relay, hold: Any) -> Any:
        former = hand_on_unbroken(relay, hold)
        if breaks:
            hold.__self__._break()
        return former

    hand_on_unbroken = Relay.hand_on
    monkeypatch.setattr(Relay, "hand_on", hand_on)
    caplog.set_level(logging.DEBUG, "trioserve")
    async with serving(Waiting(), **options) as site, http2_client(site) as client:
        for stream in [await client.ask() for _ in range(2)]:
            await client.answer(stream)
        breaks = True
        await client.ask()
        await trio.sleep(1000)
        assert site.connections == 0
    assert "timeout" not in caplog.text
