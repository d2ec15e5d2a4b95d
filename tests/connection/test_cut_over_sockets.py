"""What the kernel makes of a response that is cut short: all that was sent arrives, at a slow client too."""

from typing import Final

import anyio
import pytest

from tests.helpers.apps import part, reply, start
from tests.helpers.loopback import SOCKET_KINDS, fixtures_over, serving_on_loopback
from tests.helpers.stream_pairs import Kind, Peer
from tests.helpers.transcripts import get, post
from trioserve._types import App, Receive, Scope, Send

PART: Final = b"x" * 100_000
FRAMINGS = pytest.mark.parametrize("framing", ["chunked", "length", "http-1.0"])


kind, anyio_backend = fixtures_over(SOCKET_KINDS)


async def read_slowly(peer: Peer) -> tuple[bytes, bool]:
    """All that comes, and whether the end is one without an error."""
    received = b""
    try:
        while data := await peer.receive(8192):
            received += data
            await anyio.sleep(0.001)
    except ConnectionError:
        return received, False
    return received, True


def sending_then(framing: str, end: App) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=[(b"content-length", b"%d" % (11 * len(PART)))] if framing == "length" else [])
        for _ in range(10):
            await part(send, PART)
        await end(scope, receive, send)

    return app


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("the application's")


async def give_up(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns too early."""


@FRAMINGS
@pytest.mark.parametrize("end", [fail, give_up])
@pytest.mark.parametrize("finishes", [False, True], ids=["", "half-closed"])
async def test_a_slow_client_gets_all_that_was_sent(kind: Kind, framing: str, end: App, finishes: bool) -> None:
    async with serving_on_loopback(kind, sending_then(framing, end)) as site:
        peer = site.connect()
        await peer.send(get("/", version="1.0" if framing == "http-1.0" else "1.1"))
        if finishes:
            await peer.send_eof()
        received, is_clean = await read_slowly(peer)
    assert received.count(b"x") == 10 * len(PART)
    assert not received.endswith(b"0\r\n\r\n")
    if not kind.tls:
        assert is_clean == (framing != "http-1.0"), "where the end of the connection is that of the body, it is a reset"


@FRAMINGS
async def test_small_parts_and_an_error_without_a_wait(kind: Kind, framing: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers=[(b"content-length", b"100")] if framing == "length" else [])
        await part(send, b"xxx")
        await part(send, b"xxx")
        raise ValueError("the application's")

    async with serving_on_loopback(kind, app) as site:
        for _ in range(5):
            peer = site.connect()
            await peer.send(get("/", version="1.0" if framing == "http-1.0" else "1.1"))
            received, is_clean = await read_slowly(peer)
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
            assert received.count(b"x") == 6
            if not kind.tls:
                assert is_clean == (framing != "http-1.0")


async def test_the_deadline_of_a_shutdown(kind: Kind) -> None:
    begun = anyio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await anyio.sleep_forever()

    async with serving_on_loopback(kind, sending_then("chunked", wait), timeout_graceful_shutdown=0.2) as site:
        peer = site.connect()
        async with anyio.create_task_group() as reading:
            ends: list[tuple[bytes, bool]] = []

            async def read() -> None:
                with anyio.CancelScope(shield=True):
                    ends.append(await read_slowly(peer))

            await peer.send(get())
            reading.start_soon(read)
            await begun.wait()
            site.stop()
    [(received, is_clean)] = ends
    assert received.count(b"x") == 10 * len(PART)
    assert is_clean


async def test_an_early_answer_reaches_a_client_that_uploads_on(kind: Kind) -> None:
    """Much more than all buffers hold, without a look at what the server says (RFC 9112 §9.6)."""
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"too much", 413)

    async with serving_on_loopback(kind, app) as site:
        peer = site.connect()
        await peer.send(post(length=50_000_000))
        for _ in range(20):
            await peer.send(PART)
        received, _ = await read_slowly(peer)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert received.endswith(b"too much")
