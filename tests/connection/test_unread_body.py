"""What becomes of a request body that nobody reads: skipped, or the end of its connection (RFC 9112 §9.6)."""

import anyio
import pytest

from tests.helpers.apps import hello
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post, receive_response
from trioserve._streams.memory import MemoryClient
from trioserve.testing import seconds_passed, settled


async def test_a_small_unread_body_is_skipped() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"unread") + get("/next"))
        assert await receive_response(client) == ok(b"/")
        assert await receive_response(client) == ok(b"/next")


async def test_a_small_unread_body_that_is_still_on_its_way_is_skipped() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"un", length=6))
        assert await receive_response(client) == ok(b"/")
        await client.send_all(b"read" + get("/next"))
        assert await receive_response(client) == ok(b"/next")


async def test_an_unread_body_that_does_not_come_ends_the_connection_quietly(
    caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(hello, timeout_body=30) as site:
        client = site.connect()
        await client.send_all(post(b"un", length=6))
        assert await receive_response(client) == ok(b"/")
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == b""
    assert elapsed.seconds == 30
    assert not caplog.records


async def test_unread_chunks_are_skipped() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        client = site.connect()
        body = b"4\r\nbody\r\n0\r\n\r\n"
        await client.send_all(get("/", "transfer-encoding: chunked", method="POST") + body + get("/next"))
        assert await receive_response(client) == ok(b"/")
        assert await receive_response(client) == ok(b"/next")


async def test_an_unread_body_of_more_than_one_read_is_skipped() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"x" * 200_000) + get("/next"))
        assert await receive_response(client) == ok(b"/")
        assert await receive_response(client) == ok(b"/next")


async def test_a_large_unread_body_ends_the_connection() -> None:  # RFC 9112 §9.3
    async with serving(hello) as site:
        received = await site.everything_after(post(b"x", length=10_000_000))
    assert received == ok(b"/", "connection: close")


async def test_endless_unread_chunks_end_the_connection() -> None:  # RFC 9112 §9.3
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    async with serving(hello) as site:
        client = site.connect()
        async with anyio.create_task_group() as sending:

            @sending.start_soon
            async def send_for_ever() -> None:
                await client.send_all(get("/", "transfer-encoding: chunked", method="POST"))
                while not client.lost:
                    client.send_nowait(chunk)
                    await anyio.sleep(0.01)

            with seconds_passed() as elapsed:
                assert await client.receive_rest() == ok(b"/")
        assert client.lost
    assert elapsed.seconds <= 3


async def test_a_client_that_sends_before_it_reads_still_gets_the_answer() -> None:  # RFC 9112 §9.6, lingering close
    async with serving(hello) as site:
        client = site.connect()
        body = b"x" * 500_000
        await client.send_all(post(body, length=len(body)))
        await settled()
        assert await client.receive_rest() == ok(b"/", "connection: close")
        assert not client.lost


async def test_lingering_ends_when_the_client_does() -> None:  # RFC 9112 §9.6
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"", length=10_000_000))
        await receive_response(client)
        with seconds_passed() as elapsed:
            await client.aclose()
            await settled()
            assert site.connections == 0
    assert elapsed.seconds == 0


async def linger(client: MemoryClient, body: bytes, *, every: float) -> float:
    """Go on with an upload that is answered already; return how many seconds somebody took it for."""
    await client.send_all(post(b"", length=10_000_000_000))
    assert await client.receive_rest() == ok(b"/", "connection: close")  # the connection is still half open
    with seconds_passed() as elapsed:
        client.send_nowait(body)
        while not client.lost:
            await anyio.sleep(every)
            client.send_nowait(body)
    return elapsed.seconds


async def test_lingering_ends_when_the_client_is_silent() -> None:  # RFC 9112 §9.6
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"", length=10_000_000))
        await receive_response(client)
        await anyio.sleep(1.9)
        assert site.connections == 1
        await anyio.sleep(0.2)
        assert site.connections == 0


async def test_lingering_goes_on_while_bytes_come_but_not_for_ever() -> None:  # RFC 9112 §9.6
    async with serving(hello) as site:
        assert 30 <= await linger(site.connect(), b"x", every=1.9) < 32
        assert await linger(site.connect(), b"x", every=2.1) < 2.2


async def test_lingering_takes_no_more_than_256_mib() -> None:  # RFC 9112 §9.6
    mebibyte = b"x" * 1024 * 1024
    async with serving(hello, capacity=2 * len(mebibyte)) as site:
        seconds = await linger(site.connect(), mebibyte, every=0.01)
    assert 2.5 <= seconds <= 2.7


async def test_the_answer_to_an_upload_that_goes_on_for_long_can_still_be_read() -> None:  # RFC 9112 §9.6
    async with serving(hello) as site:
        client = site.connect()
        await client.send_all(post(b"", length=10_000_000))
        for _ in range(20):
            await anyio.sleep(1)
            await client.send_all(b"x" * 1000)
        assert await client.receive_rest() == ok(b"/", "connection: close")
        assert not client.lost
