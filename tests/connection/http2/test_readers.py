"""Streams of one HTTP/2 connection whose clients read at different speeds (RFC 9113 §5.2)."""

from pathlib import Path
from typing import Any

import anyio

from tests.helpers.apps import reply, start
from tests.helpers.http2_client import Http2Client, http2_client
from tests.helpers.http2_numbers import INITIAL_WINDOW_SIZE
from tests.helpers.serving import serving
from trioserve._connection.file_sending import BLOCK_BYTES
from trioserve._types import Receive, Scope, Send

WINDOW = 20_000
BODY = bytes(range(250)) * 800      # ten windows
SLOW = FAST = 50


async def whole(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, BODY)


async def take_what_comes(client: Http2Client) -> None:
    with anyio.move_on_after(1):
        while True:
            await client.listen()


async def rounds(options: dict[str, Any], *, slow: int) -> int:
    """How often the client has to open the windows of the fast streams until they have ended.

    The slow ones, which began before them, read 100 bytes each time, and are finished later.
    """
    async with serving(whole, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: WINDOW}) as client:
        client.takes_bodies = False
        client.h2.increment_flow_control_window(2**30)      # of the connection: nobody waits for that
        slow_streams = [await client.ask() for _ in range(slow)]
        fast_streams = [await client.ask() for _ in range(FAST)]
        count = 0
        while not all(client.answers[stream].ended for stream in fast_streams):
            await take_what_comes(client)
            assert all(len(client.answers[stream].body) < 2 * WINDOW for stream in slow_streams)
            count += 1
            for streams, size in ((slow_streams, 100), (fast_streams, WINDOW)):
                for stream in streams:
                    if not client.answers[stream].ended:
                        client.h2.increment_flow_control_window(size, stream)
            await client.say()
        for stream in slow_streams:
            client.h2.increment_flow_control_window(len(BODY), stream)
        await client.say()
        for stream in (*slow_streams, *fast_streams):
            assert (await client.answer(stream)).body == BODY
        return count


async def test_fast_readers_finish_as_if_slow_ones_were_not_there(options: dict[str, Any]) -> None:
    assert await rounds(options, slow=SLOW) == await rounds(options, slow=0) == len(BODY) // WINDOW


async def test_a_file_is_read_as_its_client_takes_it(options: dict[str, Any], tmp_path: Path) -> None:
    """At most two blocks of it wait for the client's window."""
    file = tmp_path / "large"
    file.write_bytes(BODY * 20)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await send({"type": "http.response.pathsend", "path": str(file)})

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: WINDOW}) as client:
        client.takes_bodies = False
        stream = await client.ask()
        await take_what_comes(client)
        connection: Any = site.only_connection
        assert 0 < connection._protocol.codec.engine.queued_body_size(stream) <= 2 * BLOCK_BYTES
        client.h2.increment_flow_control_window(len(BODY) * 20, stream)
        client.h2.increment_flow_control_window(len(BODY) * 20)
        await client.say()
        assert (await client.answer(stream)).body == BODY * 20
