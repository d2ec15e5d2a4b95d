"""Random conversations: whoever reads when, each message arrives once and in order, and each ping is answered."""

from contextlib import suppress
from random import Random

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.serving import serving
from tests.helpers.ws_client import WebSocketClient, accept, open_websocket
from tests.helpers.ws_frames import CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame
from trioserve import ClientDisconnected
from trioserve._types import Receive, Scope, Send

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would double their time

MESSAGES = 60
PAUSES = (0.0, 0.0, 0.01, 0.09, 0.1, 0.11, 0.3, 1.0)


class RandomApplication:
    """Receives in its own task and in children, gives up waiting at times, is busy elsewhere, echoes."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.received: list[str] = []
        self.code: int | None = None
        self.ended = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        while self.code is None:
            if self.random.random() < 0.2:
                async with anyio.create_task_group() as children:
                    children.start_soon(self._receive_some, receive, send)
            else:
                await self._receive_some(receive, send)
        self.ended.set()

    async def _receive_some(self, receive: Receive, send: Send) -> None:
        for _ in range(self.random.randint(1, 4)):
            await anyio.sleep(self.random.choice(PAUSES))
            with anyio.move_on_after(self.random.choice((0.0, 0.05, 5.0))):
                event = await receive()
                if event["type"] == "websocket.disconnect":
                    self.code = event["code"]
                    return
                self.received.append(event["text"])
                with anyio.CancelScope(shield=True), suppress(ClientDisconnected):  # the close was read ahead
                    await send({"type": "websocket.send", "text": event["text"]})


async def say(client: WebSocketClient, random: Random, texts: list[str]) -> None:
    for text in texts:
        data = text.encode()
        wire = frame(TEXT, data) if random.random() < 0.6 else (
            frame(TEXT, data[:2], fin=False) + frame(PING, data[:20]) + frame(CONTINUATION, data[2:]))
        if random.random() < 0.3:
            wire += frame(PING, data[:20])
        while wire:
            cut = random.choice((len(wire), 1, 5, 20))
            await client.send(wire[:cut])
            wire = wire[cut:]
            if random.random() < 0.3:
                await anyio.sleep(random.choice(PAUSES))
    await client.send(close_frame(4000))


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_reads_nothing_is_lost(seed: int) -> None:
    random = Random(seed)
    app = RandomApplication(Random(f"app {seed}"))
    texts = [f"message {index} " + "x" * random.choice((0, 10, 200, 3000)) for index in range(MESSAGES)]
    async with serving(app) as site:
        client = await open_websocket(site)
        async with anyio.create_task_group() as saying:
            saying.start_soon(say, client, random, texts)
            frames = await client.receive_rest()
        await client.stream.aclose()
        await app.ended.wait()
    echoed = [each.payload.decode() for each in frames if each.opcode == TEXT]
    assert app.received == texts
    assert echoed == texts[: len(echoed)]  # the last ones came after the client had closed
    assert frames[-1].opcode == CLOSE
    assert app.code == 4000
    answers = [each.payload for each in frames if each.opcode == PONG]
    assert answers == sorted(answers, key=lambda payload: int(payload.split()[1]))
