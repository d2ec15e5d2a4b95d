"""Who has been told that the client left is told the same by ``send()``; and scopes can be copied."""

import copy
import json
import logging
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post
from tests.helpers.ws_client import accept, handshake
from trioserve import ClientDisconnected
from trioserve._streams.memory import MemoryClient
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


def half_close(client: MemoryClient) -> None:
    client.send_eof()


def close(client: MemoryClient) -> None:
    assert client.close_nowait()


def reset(client: MemoryClient) -> None:
    client.abort()


LEAVE = pytest.mark.parametrize("leave", [half_close, close, reset])


def access_line(caplog: pytest.LogCaptureFixture) -> str:
    [line] = [record.getMessage() for record in caplog.records if record.name == "trioserve.access"]
    return line


@LEAVE
@pytest.mark.parametrize("begun", [False, True])
async def test_send_raises_after_the_application_has_been_told(
    leave: Callable[[MemoryClient], None], begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[Exception] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        if begun:
            await start(send)
            await part(send, b"part")
        assert await receive() == {"type": "http.disconnect"}
        for _ in range(2):
            try:
                await (part(send, b"more") if begun else reply(send, b"late"))
            except OSError as exc:
                raised.append(exc)
        assert await receive() == {"type": "http.disconnect"}

    caplog.set_level(logging.INFO)
    async with serving(app, access_log=True) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        while client.receive_nowait():
            pass
        leave(client)
        await anyio.sleep(5)
        assert site.connections == 0
    assert [type(exc) for exc in raised] == [ClientDisconnected, ClientDisconnected]
    assert f'"GET / HTTP/1.1" {200 if begun else 499} ' in access_line(caplog)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize("sleeps", [False, True], ids=["in send()", "between two calls"])
async def test_who_listens_in_another_task_may_cancel_the_one_that_sends(
    leave: Callable[[MemoryClient], None], sleeps: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As Django does, some turns of the event loop after it has been told: ``send()`` does not raise before."""
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        listening = anyio.Event()

        async def listen() -> None:
            listening.set()
            assert await receive() == {"type": "http.disconnect"}
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            sending.cancel_scope.cancel()

        await read_body(receive)
        async with anyio.create_task_group() as sending:
            sending.start_soon(listen)
            await listening.wait()
            try:
                await start(send)
                while True:
                    await part(send, bytes(1 if sleeps else 1_000_000))
                    if sleeps:
                        await anyio.lowlevel.checkpoint()
            except anyio.get_cancelled_exc_class():
                ended.append("cancelled")
                raise
            except OSError:
                ended.append("raised")

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_some()
        leave(client)
        await anyio.sleep(5)
        assert site.connections == 0
    assert ended == ["cancelled"]
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_send_waits_once_for_a_listener_that_cancels_nobody() -> None:
    waited: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            assert await receive() == {"type": "http.disconnect"}

        await read_body(receive)
        await start(send)
        await part(send, b"part")
        async with anyio.create_task_group() as listening:
            listening.start_soon(listen)
            await anyio.sleep(5)
            for _ in range(2):
                began = anyio.current_time()
                with pytest.raises(ClientDisconnected):
                    await part(send, b"more")
                waited.append(anyio.current_time() - began)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_some()
        client.abort()
        await anyio.sleep(10)
        assert site.connections == 0
    assert waited == [0.5, 0.0]


async def test_send_raises_at_once_after_the_application_has_ended() -> None:
    """Two tasks outlive it: one that listens, and one that sends."""
    waited: list[float] = []

    async with anyio.create_task_group() as outside:

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            told = anyio.Event()

            async def listen() -> None:
                assert await receive() == {"type": "http.disconnect"}
                told.set()

            async def go_on() -> None:
                await told.wait()
                began = anyio.current_time()
                with pytest.raises(ClientDisconnected):
                    await part(send, b"more")
                waited.append(anyio.current_time() - began)

            await read_body(receive)
            await start(send)
            await part(send, b"part")
            outside.start_soon(listen)
            outside.start_soon(go_on)
            await anyio.sleep(1)

        async with serving(app) as site:
            client = site.connect()
            await client.send_all(get())
            await anyio.sleep(5)
    assert waited == [0.0]


@LEAVE
async def test_send_raises_at_once_when_nobody_listens_any_more(leave: Callable[[MemoryClient], None]) -> None:
    """As Starlette asks: in the task that sends, by a ``receive()`` that is cancelled."""
    waited: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await start(send)
        await part(send, b"part")
        with anyio.move_on_after(1):
            await receive()
        await anyio.sleep(5)
        with anyio.move_on_after(1):
            await receive()
        began = anyio.current_time()
        with pytest.raises(ClientDisconnected):
            await part(send, b"more")
        waited.append(anyio.current_time() - began)

    async with serving(app, on_disconnect="notify") as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_some()
        await anyio.sleep(3)
        leave(client)
        await anyio.sleep(10)
        assert site.connections == 0
    assert waited == [0.0]


async def test_an_application_that_never_asked_answers_a_half_closed_client(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        await anyio.sleep(5)
        await reply(send, body)

    caplog.set_level(logging.INFO)
    async with serving(app, access_log=True) as site:
        client = site.connect()
        await client.send_all(post(b"body"))
        client.send_eof()
        assert await client.receive_rest() == ok(b"body")
        assert not client.lost
    assert '"POST / HTTP/1.1" 200 ' in access_line(caplog)


async def test_a_child_that_has_been_told_tells_all(caplog: pytest.LogCaptureFixture) -> None:
    """One task listens, another one sends."""
    raised: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            assert await receive() == {"type": "http.disconnect"}

        await read_body(receive)
        async with anyio.create_task_group() as children:
            children.start_soon(listen)
            await anyio.sleep(5)
            try:
                await reply(send, b"late")
            except ClientDisconnected:
                raised.append("in the task that did not listen")

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(1)
        client.send_eof()
        assert await client.receive_rest() == b""
    assert raised == ["in the task that did not listen"]
    assert not caplog.records


# -- scopes ---------------------------------------------------------------------------------------------------------


OPTIONS: list[dict[str, Any]] = [
    {},
    {"timeout_request": 5},
    {"request_id_header": "x-request-id"},
    {"on_disconnect": "cancel"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options), "default"))
async def test_a_scope_can_be_copied(options: dict[str, Any]) -> None:
    copies: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert type(scope) is dict
        copied = copy.deepcopy(scope)
        assert copied == scope
        assert copied["headers"] == scope["headers"]
        copied["headers"].append((b"x-mine", b"1"))
        copied["extensions"]["mine"] = {}
        assert "mine" not in scope["extensions"]
        assert scope["headers"][-1] != (b"x-mine", b"1")
        for extension in scope["extensions"].values():
            assert type(extension) is dict
        copies.append(copied)
        if scope["type"] == "websocket":
            await accept(receive, send)
        else:
            await hello(scope, receive, send)

    async with serving(app, **options) as site:
        for _ in range(2):
            assert await site.answer_to(get("/a?b=c", "x-field: value")) == ok(b"/a")
        await site.everything_after(handshake())
    assert [copied["type"] for copied in copies] == ["http", "http", "websocket"]


async def test_what_is_in_a_copied_scope_works() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        extensions = copy.deepcopy(scope)["extensions"]
        extensions["trioserve.timeout_request"]["restart"]()
        name = extensions["trioserve.request_id"]["get"]()
        await reply(send, json.dumps(name == scope["extensions"]["trioserve.request_id"]["get"]()).encode())
        await extensions["trioserve.shutdown"]["wait"]()
        stopped.set()

    stopped = anyio.Event()
    async with serving(app, timeout_request=5) as site:
        assert await site.answer_to(get()) == ok(b"true")
        assert not stopped.is_set()
        site.server.request_shutdown("test")
        await stopped.wait()
