"""The access lines of a WebSocket: one when it opens, one when it closes."""

import json
import re
from typing import Any

import anyio
import pytest

from tests.helpers.access_lines import BatchHandler, assert_line, logged
from tests.helpers.ws_client import accept, handshake, open_websocket
from tests.helpers.ws_client import echo as websocket_echo
from tests.helpers.ws_frames import BINARY, PING, TEXT, frame
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


async def test_a_line_when_a_websocket_opens_and_one_when_it_closes(handler: Any) -> None:
    async with logged(websocket_echo, handler) as site:
        client = await open_websocket(site, target="/chat?room=1")
        await settled()
        await client.send(frame(TEXT, b"hello"), frame(BINARY, b"x" * 200), frame(PING))
        await settled()
        await anyio.sleep(12)
        await client.close(4001)
        await client.receive_rest()
        await client.stream.aclose()
    opened, closed = handler.lines
    assert_line(opened, "GET /chat?room=1 HTTP/1.1", "101 Switching Protocols", 0)
    pattern = (
        r'192\.0\.2\.1:50000 - "WEBSOCKET /chat\?room=1" 4001 '
        r"received 2 \(205 B\) sent 2 \(205 B\) \d+\.\d s"
    )
    assert re.fullmatch(pattern, closed), closed


async def test_the_target_of_a_websocket_does_not_end_its_line(batches: BatchHandler) -> None:
    async with logged(websocket_echo, batches) as site:
        client = await open_websocket(site, target='/\\"')
        await client.close(1000)
        await client.receive_rest()
    assert r'"WEBSOCKET /\\\"" 1000 ' in batches.lines[1]


@pytest.mark.parametrize(("end", "code"), [("return", 1000), ("raise", 1011), ("vanish", 1006)])
async def test_the_code_says_how_a_websocket_ended(end: str, code: int, batches: BatchHandler) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        if end == "raise":
            raise ValueError
        if end == "vanish":
            await receive()

    async with logged(app, batches) as site:
        client = await open_websocket(site)
        client.stream.send_eof()
        await client.receive_rest()
    assert f'"WEBSOCKET /" {code} received 0 (0 B)' in batches.lines[1]


@pytest.mark.parametrize(("wire", "status"), [
    (handshake(), "403 Forbidden 10 B"), (handshake(version="8"), "426 Upgrade Required 39 B"),
    (handshake(target="/fail"), "500 Internal Server Error 22 B")])
async def test_a_refused_handshake_has_one_line(wire: bytes, status: str, batches: BatchHandler) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fail":
            raise ValueError

    async with logged(app, batches) as site:
        await site.everything_after(wire)
    [line] = batches.lines
    assert f'HTTP/1.1" {status} ' in line


async def test_a_websocket_in_a_format_of_the_operators(batches: BatchHandler) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept", "headers": [(b"x-room", b"one")]})

    async with logged(app, batches, access_log_format="%(m)s %(U)s %(s)s %({x-room}o)s") as site:
        client = await open_websocket(site, target="/chat")
        await client.close(1000)
        await client.receive_rest()
    assert batches.lines[0] == "GET /chat 101 one"
    assert batches.lines[1].startswith('192.0.2.1:50000 - "WEBSOCKET /chat" 1000 received 0 (0 B) sent 0 (0 B) ')


END: dict[str, Any] = {
    "client": "192.0.2.1", "client_port": 50000, "method": "WEBSOCKET", "path": "/chat", "query": "room=1",
    "close_code": 1006, "received_messages": 1, "received_bytes": 1, "sent_messages": 1, "sent_bytes": 1,
    "request_id": None, "reason": "ping-timeout"}  # fmt: skip


async def test_the_end_of_a_websocket_as_json(batches: BatchHandler) -> None:
    async with logged(websocket_echo, batches, log_format="json", request_id_header="off") as site:
        client = await open_websocket(site, target="/chat?room=1")
        await client.text("a")
        await client.receive_rest()
    opened, closed = map(json.loads, batches.lines)
    assert (opened["status"], opened["path"]) == (101, "/chat")
    assert {name: closed[name] for name in END} == END
    assert closed["message"].startswith('192.0.2.1:50000 - "WEBSOCKET /chat?room=1" 1006 received 1 (1 B) ')
    assert {"time", "level", "logger", "pid", "duration_ms"} <= closed.keys()


async def test_the_end_of_a_websocket_as_a_record(caplog: pytest.LogCaptureFixture) -> None:
    async with logged(websocket_echo, caplog.handler, request_id_header="off") as site:
        client = await open_websocket(site, target="/chat?room=1")
        await client.text("a")
        await client.receive_rest()
    record = caplog.records[-1]
    assert {name: getattr(record, name) for name in END} == END
