"""WebSockets under chaos: struck at each await and message between the handshake and the end, and found again there."""

import importlib.util
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import anyio
import litestar
import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from tests.check.zoo import ZOO, load_zoo
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import ChaosFailed, chaos
from trioserve.testing.chaos_rounds import explore

HELLO = ["WS / hello"]


async def accepted(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "websocket"
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await accepted(scope, receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        await anyio.sleep(0.1)
        await send({"type": "websocket.send", "text": message["text"]})


async def test_a_swallowed_cancellation_is_found_and_found_again() -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        await accepted(scope, receive, send)
        while (message := await receive())["type"] == "websocket.receive":
            try:
                await anyio.sleep(0.1)
            except BaseException:
                message["text"] = "unknown"
            await send({"type": "websocket.send", "text": message["text"]})

    report = await explore(stubborn, HELLO)
    finding = report.findings[0]
    assert (finding.kind, finding.request) == ("swallowed", "WS /")
    assert finding.point.startswith("cancel@")
    again = await explore(stubborn, HELLO, points=[finding.point])
    assert (again.findings[0], again.rounds) == (finding, 1)
    with pytest.raises(ChaosFailed, match=rf"Again: chaos\(app, \[..., 'WS /', ...\], points=\['{finding.point}'\]\)"):
        await chaos(stubborn, HELLO, points=[finding.point])


async def test_a_client_that_leaves_between_two_messages() -> None:
    """Who has left is never struck off, and soon there is no place."""
    members: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accepted(scope, receive, send)
        if len(members) == 2:
            await send({"type": "websocket.close", "code": 1013})
            return
        members.append("somebody")
        message = await receive()
        if message["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "welcome"})
            members.pop()

    report = await explore(app, HELLO, points=["leave@2"])
    assert [(finding.kind, finding.point) for finding in report.findings] == [("state", "leave@2")]
    assert "then WS / gets the close code 1013 in place of 0" in report.findings[0].text


async def test_what_clients_share() -> None:
    last = [""]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accepted(scope, receive, send)
        last[0] = (await receive())["text"]
        await anyio.sleep(0.1)
        await send({"type": "websocket.send", "text": last[0]})
        await receive()

    report = await explore(app, ["WS /?a ann", "WS /?b bob"], points=["pause@1"])
    texts = {finding.text for finding in report.findings if finding.kind == "overtaken"}
    assert "then WS /?a gets the messages ['bob'] in place of ['ann']" in texts


async def test_a_shutdown_in_the_middle() -> None:
    """The server closes the WebSocket, and the application hears of it wherever it stood."""
    codes: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accepted(scope, receive, send)
        await anyio.sleep(0.1)
        while (message := await receive())["type"] == "websocket.receive":
            pass
        codes.append(message["code"])

    report = await chaos(app, HELLO)
    learnt = codes[:2]
    assert learnt == [1000, 1000]
    codes.clear()
    await chaos(app, HELLO, points=["shutdown@0", "shutdown@1"])
    assert codes[2:] == [1012, 1012]  # after those that it has learnt from
    assert report.rounds >= 10


async def test_an_application_that_fails_is_not_struck() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accepted(scope, receive, send)
        await receive()
        raise ValueError("no hats")

    report = await explore(app, HELLO)
    [finding] = report.findings
    assert (report.rounds, finding.kind) == (0, "answer")
    assert finding.text == "it is answered by 101, closed with 1011: ValueError: no hats"


async def test_a_handshake_that_is_refused_is_an_answer_like_any_other() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        await anyio.sleep(0.1)
        await send({"type": "websocket.close"})

    assert (await chaos(app, HELLO)).rounds >= 3


async def test_words_that_others_say_are_no_difference() -> None:
    """A member of a room gets what the others say, besides what it gets alone."""
    report = await chaos(chat_room(), ["WS /?ann hello", "WS /?bob hello"])
    assert report.rounds >= 10


# Applications that are right.


def chat_room() -> FastAPI:
    """As in FastAPI's documentation, with a broadcast that outlives its members."""
    app = FastAPI()
    members: list[WebSocket] = []

    async def broadcast(text: str) -> None:
        for member in list(members):
            with suppress(WebSocketDisconnect, RuntimeError):  # it leaves at this moment
                await member.send_text(text)

    @app.websocket("/")
    async def chat(socket: WebSocket) -> None:
        await socket.accept()
        members.append(socket)
        try:
            while True:
                text = await socket.receive_text()
                await socket.send_text(f"You wrote: {text}")
                await broadcast(f"Somebody says: {text}")
        except WebSocketDisconnect:
            pass
        finally:
            members.remove(socket)
        await broadcast("Somebody has left")

    return app


def starlette_echo() -> Starlette:
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await anyio.sleep(0.1)
            await socket.send_text(text)

    return Starlette(routes=[WebSocketRoute("/", echo)])


def litestar_echo() -> litestar.Litestar:
    @litestar.websocket("/")
    async def hello(socket: litestar.WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    return litestar.Litestar([hello], logging_config=None)  # else it configures the loggers of the process


def reader_and_writer() -> Any:
    """Two tasks, as every application that speaks by itself has them; the reader ends both."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accepted(scope, receive, send)

        async def read() -> None:
            while (await receive())["type"] == "websocket.receive":
                pass
            nursery.cancel_scope.cancel()

        async with anyio.create_task_group() as nursery:
            nursery.start_soon(read)
            for number in range(3):
                await anyio.sleep(1)
                await send({"type": "websocket.send", "bytes": bytes([number])})

    return app


def chat_example() -> Any:
    spec = importlib.util.spec_from_file_location("chat_example", ZOO.parent / "examples" / "chat.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


RIGHT: list[tuple[Callable[[], Any], str]] = [
    (lambda: echo, "WS / hello"), (chat_room, "WS / hello"), (starlette_echo, "WS / hello"),
    (litestar_echo, "WS / hello"), (reader_and_writer, "WS /"), (chat_example, "WS /chat?name=ann hello"),
    (lambda: load_zoo("deaf_websocket").mended, "WS / hello"),
]  # fmt: skip


@pytest.mark.parametrize(("new_app", "request_"), RIGHT)
async def test_nothing_is_found_in_what_is_right(new_app: Callable[[], Any], request_: str) -> None:
    report = await chaos(new_app, [request_], factory=True)
    assert report.rounds >= 10


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_nothing_is_found_in_quart_trio() -> None:
    from quart import websocket as socket
    from quart_trio import QuartTrio

    app = QuartTrio(__name__)

    @app.websocket("/")
    async def echo_back() -> None:
        while True:
            await socket.send(await socket.receive())

    assert (await chaos(cast("App", app), HELLO)).rounds >= 10
