"""Clients of HTTP/2 that do what they like, while applications wait, answer in parts, fail and go on.

Whatever happens, no engine is asked for what it cannot do, every connection comes to its end, and the server goes on.
Deterministic, and to be run for longer as ``test_http1_fuzz`` says.
"""

import os
from contextlib import suppress
from random import Random
from typing import Any, Final

import anyio
import pytest

from tests.helpers.apps import part, read_body, reply, start
from tests.helpers.random_http2 import RandomHttp2
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, status_of
from trioserve import ClientDisconnected
from trioserve._types import Receive, Scope, Send
from trioserve.extensions import request_of
from trioserve.testing import settled

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would triple their time

ROUNDS: Final = int(os.environ.get("TRIOSERVE_FUZZ_ROUNDS", "3000")) // 15
SEED: Final = int(os.environ.get("TRIOSERVE_FUZZ_SEED", "0"))
LIMITS: Final[dict[str, Any]] = {
    "limit_http2_streams": 4, "timeout_request": 20.0, "timeout_body": 5.0, "timeout_write": 5.0,
    "limit_request_body": 20_000,
}  # fmt: skip
PATHS: Final = ("/now", "/late", "/fail", "/parts", "/large", "/echo", "/after", "/nothing", "/cancel")
LONG_ENOUGH: Final = 60.0  # seconds, for whatever goes on


async def lively(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await websocket(scope, receive, send)
        return
    path = scope["path"]
    if path == "/cancel":
        request_of(scope).cancel("enough")
    if path not in ("/now", "/large", "/echo", "/after"):
        await anyio.sleep(1)
    if path == "/fail":
        raise RuntimeError("an application's own")
    if path == "/parts":
        await start(send)
        for number in range(3):
            await part(send, b"x" * 1000, more=number < 2)
            await anyio.sleep(1)
    elif path == "/echo":
        with suppress(EOFError):
            await reply(send, await read_body(receive))
    elif path != "/nothing":
        await reply(send, b"x" * 200_000 if path == "/large" else b"answer")
        await anyio.sleep(3 if path == "/after" else 0)


async def websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if scope["path"] == "/late":
        await anyio.sleep(1)
    await send({"type": "websocket.accept" if scope["path"] != "/fail" else "websocket.close"})
    while scope["path"] != "/now" and (await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": "answer"})


async def talk(site: Site, random: Random) -> None:
    """Several pieces, and then the client goes, in one way or another."""
    client, speaker = site.connect(), RandomHttp2(random, PATHS)
    with suppress(ClientDisconnected):
        client.send_nowait(speaker.opening)
        for _ in range(random.randint(1, 6)):
            client.send_nowait(speaker.piece())
            await anyio.sleep(random.choice((0.0, 0.0, 0.5, 1.5)))
            while random.random() < 0.8 and client.receive_nowait():
                pass
        if random.random() < 0.5:
            client.send_eof()
            await anyio.sleep(LONG_ENOUGH)
    client.abort()
    await anyio.sleep(LONG_ENOUGH)


@pytest.mark.timeout(60 + ROUNDS / 5)
@pytest.mark.parametrize("engine", ["ngh2", "h2"])
async def test_applications_among_random_frames(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(lively, http2=True, http2_engine=engine, **LIMITS) as site:
        for number in range(ROUNDS):
            await talk(site, Random(f"{SEED}, {number}"))
            assert site.connections == 0, number
            assert "Internal error" not in caplog.text, number
            caplog.clear()
        assert status_of(await site.answer_to(get("/now"))) == 200
        await settled()
