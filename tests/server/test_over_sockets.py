"""The whole server on loopback, over every kind of socket stream."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, read_body, reply
from tests.helpers.corks import is_closed, socket_of
from tests.helpers.loopback import SOCKET_KINDS, Loopback, fixtures_over, receive_exactly, serving_on_loopback
from tests.helpers.stream_pairs import Kind, Peer, eventually, fill_kernel, waits
from tests.helpers.transcripts import get, ok, post
from trioserve._streams import Network
from trioserve._streams.cork import Cork
from trioserve._types import Receive, Scope, Send

CLEAR_KINDS = [kind for kind in SOCKET_KINDS if not kind.tls]
MUCH = bytes(range(256)) * 2048  # 512 KiB, several times what all buffers hold
HELD = b"held" * 3000  # waits for the end of a turn, and is more room than a kernel makes while nobody reads
FDS = Path("/proc/self/fd")


kind, anyio_backend = fixtures_over(SOCKET_KINDS)


async def test_requests_on_one_connection(kind: Kind) -> None:
    async with serving_on_loopback(kind, hello) as site:
        peer = site.connect()
        for target in ("/a", "/b", "/c"):
            await peer.send(get(target))
            assert await receive_exactly(peer, len(ok(target.encode()))) == ok(target.encode())


async def test_many_connections_at_once(kind: Kind) -> None:
    async with serving_on_loopback(kind, hello) as site, anyio.create_task_group() as visitors:

        async def visit(number: int) -> None:
            peer = site.connect()
            for turn in range(3):
                target = f"/{number}/{turn}"
                await peer.send(get(target))
                assert await receive_exactly(peer, len(ok(target.encode()))) == ok(target.encode())
            peer.close()

        for number in range(50):
            visitors.start_soon(visit, number)


async def test_pipelined_requests(kind: Kind) -> None:
    async with serving_on_loopback(kind, hello) as site:
        peer = site.connect()
        await peer.send(get("/a") * 100)
        assert await receive_exactly(peer, 100 * len(ok(b"/a"))) == ok(b"/a") * 100


async def test_a_large_body_there_and_back(kind: Kind) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, await read_body(receive))

    async with serving_on_loopback(kind, echo) as site, anyio.create_task_group() as sending:
        peer = site.connect()
        await peer.open()
        sending.start_soon(peer.send, post(MUCH))
        assert await receive_exactly(peer, len(ok(MUCH))) == ok(MUCH)


async def test_a_client_that_sends_all_before_it_reads_gets_the_answer(kind: Kind) -> None:  # RFC 9112 §9.6
    async with serving_on_loopback(kind, hello) as site:
        peer = site.connect()
        await peer.send(post(MUCH))
        answer = ok(b"/", "connection: close")
        assert await receive_exactly(peer, len(answer)) == answer
        assert await peer.receive() == b""


async def test_connection_close(kind: Kind) -> None:  # RFC 9112 §9.6
    async with serving_on_loopback(kind, hello) as site:
        for _ in range(10):
            peer = site.connect()
            await peer.send(get("/", "connection: close"))
            answer = ok(b"/", "connection: close")
            assert await receive_exactly(peer, len(answer)) == answer
            assert await peer.receive() == b""


@pytest.mark.parametrize("leave", ["reset", "close", "send_eof"])
async def test_a_client_that_leaves_cancels_its_request(kind: Kind, leave: str) -> None:
    begun, ended = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with serving_on_loopback(kind, app, on_disconnect="cancel") as site:
        peer = site.connect()
        await peer.send(get())
        await begun.wait()
        if leave == "send_eof":
            await peer.send_eof()
        else:
            getattr(peer, leave)()
        await ended.wait()


async def test_a_client_that_leaves_is_a_disconnect(kind: Kind) -> None:
    begun, disconnected = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        begun.set()
        assert (await receive())["type"] == "http.disconnect"
        disconnected.set()

    async with serving_on_loopback(kind, app) as site:
        peer = site.connect()
        await peer.send(get())
        await begun.wait()
        peer.reset()
        await disconnected.wait()


async def test_to_ask_whether_the_client_is_still_there_does_no_harm(kind: Kind) -> None:
    """Starlette's ``Request.is_disconnected`` asks like this; a new connection has not waited for anything yet."""
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        for _ in range(3):
            with anyio.CancelScope() as cancel_scope:
                cancel_scope.cancel()
                await receive()
            assert cancel_scope.cancelled_caught
        await reply(send, b"still there")

    async with serving_on_loopback(kind, app) as site:
        peer = site.connect()
        for _ in range(2):
            await peer.send(get())
            assert await receive_exactly(peer, len(ok(b"still there"))) == ok(b"still there")


@pytest.mark.parametrize("kind", [kind for kind in SOCKET_KINDS if not kind.name.endswith("trio-plain")], ids=str,
                         indirect=True)
@pytest.mark.parametrize("on_disconnect", ["notify", "cancel"])
async def test_a_client_that_sends_more_than_we_read_and_leaves(kind: Kind, on_disconnect: str) -> None:
    begun, ended = anyio.Event(), anyio.Event()
    body = bytes(4 * len(MUCH))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            if on_disconnect == "notify":
                assert (await receive())["type"] == "http.request"
                assert (await receive())["type"] == "http.disconnect"
            else:
                await anyio.sleep_forever()
        finally:
            ended.set()

    async with serving_on_loopback(kind, app, on_disconnect=on_disconnect) as site:
        peer = site.connect()
        await peer.send(get() if on_disconnect == "notify" else post(body)[: -len(body)])
        await begun.wait()
        assert await waits(lambda: peer.send(body))
        assert not ended.is_set()
        peer.reset()
        with anyio.fail_after(10):
            await ended.wait()


async def test_a_request_in_progress_is_answered_and_idle_connections_are_closed(kind: Kind) -> None:
    begun, may_end = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await may_end.wait()
        await reply(send, b"finished")

    async with serving_on_loopback(kind, app) as site:
        idle, busy = site.connect(), site.connect()
        await idle.open()
        await busy.send(get())
        await begun.wait()
        site.stop()
        with anyio.CancelScope(shield=True):
            assert await idle.receive() == b""
            may_end.set()
            answer = ok(b"finished", "connection: close")
            assert await receive_exactly(busy, len(answer)) == answer
            assert await busy.receive() == b""


async def test_a_write_that_stalls_is_given_up(kind: Kind) -> None:
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await reply(send, MUCH * 32)
        finally:
            ended.set()

    async with serving_on_loopback(kind, app, timeout_write=0.1) as site:
        peer = site.connect()
        await peer.send(get())
        await ended.wait()


# -- responses that are held back for those of others ------------------------------------------------------------------


@pytest.fixture
def cork(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Cork]:
    """The cork of the server that the test starts."""
    networks: list[Any] = []

    def open_network() -> Network:
        assert kind.network is not None
        network = kind.network()
        networks.append(network)
        return network

    monkeypatch.setattr("trioserve._server.server.open_network", open_network)

    def get_cork() -> Cork:
        cork: Cork = networks[-1]._cork
        return cork

    return get_cork


async def test_a_slow_client_gets_all_of_a_last_response_that_was_held(
    kind: Kind, cork: Callable[[], Cork], monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("HURRY_SECONDS", "SILENCE_SECONDS", "LINGER_SECONDS"):  # only timeout_write shall count
        monkeypatch.setattr(f"trioserve._connection.farewell.{bound}", 0.05)
    monkeypatch.setattr("trioserve._streams.cork.CLOSE_SECONDS", 0.05)
    body = MUCH * 16

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        cork().push_in()
        await reply(send, body)

    async with serving_on_loopback(kind, app, timeout_write=30) as site:
        peer = site.connect()
        await peer.send(get("/", "connection: close"))
        expected = ok(body, "connection: close")
        assert await receive_exactly(peer, 10_000) == expected[:10_000]
        await anyio.sleep(0.3)
        cork().pull_out()
        assert await receive_exactly(peer, len(expected) - 10_000) == expected[10_000:]
        assert await peer.receive() == b""


async def test_a_small_last_response_that_was_held_leaves_and_ends(kind: Kind, cork: Callable[[], Cork]) -> None:
    answered = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        cork().push_in()
        await reply(send, b"held")
        answered.set()

    async with serving_on_loopback(kind, app) as site:
        peer = site.connect()
        await peer.send(get("/", "connection: close"))
        await answered.wait()
        cork().pull_out()
        answer = ok(b"held", "connection: close")
        assert await receive_exactly(peer, len(answer)) == answer
        assert await peer.receive() == b""


# -- connections that were closed with bytes unsent --------------------------------------------------------------------

clear_only = pytest.mark.parametrize("kind", CLEAR_KINDS, ids=str, indirect=True)  # TLS is never closed while held


@asynccontextmanager
async def closed_with_bytes_unsent(
    kind: Kind, cork: Callable[[], Cork], **options: Any
) -> AsyncIterator[tuple[Loopback, Peer, Any]]:
    """A server, a client that has not read its last response, and the stream of this closed connection."""
    streams: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Any = receive.__self__  # type: ignore[attr-defined]
        streams.append(exchange.request.outlet)
        cork().push_in()
        await reply(send, HELD)

    async with serving_on_loopback(kind, app, **options) as site:
        peer = site.connect()
        await peer.send(get("/", "connection: close"))
        await eventually(lambda: streams and streams[0]._closes)
        fill_kernel(socket_of(streams[0]))
        yield site, peer, streams[0]
    assert is_closed(streams[0])


@clear_only
async def test_a_stop_waits_for_the_last_bytes_of_a_closed_connection(
    kind: Kind, cork: Callable[[], Cork], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioserve._streams.cork.CLOSE_SECONDS", 40.0)
    async with closed_with_bytes_unsent(kind, cork) as (site, peer, stream):
        site.stop()
        with anyio.CancelScope(shield=True):
            assert await waits(anyio.sleep_forever)
            assert not is_closed(stream)
            received = b""
            while data := await peer.receive():
                received = received + data
            assert received.endswith(ok(HELD, "connection: close"))


@clear_only
@pytest.mark.parametrize(("close_seconds", "shutdown_seconds"), [
    pytest.param(0.02, None, id="as a connection that closes may take"),
    pytest.param(1000.0, 0.1, id="as the shutdown may take")])
async def test_a_stop_waits_for_them_no_longer_than_it_must(
    kind: Kind, cork: Callable[[], Cork], close_seconds: float, shutdown_seconds: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("trioserve._streams.cork.CLOSE_SECONDS", close_seconds)
    async with closed_with_bytes_unsent(
        kind, cork, timeout_graceful_shutdown=shutdown_seconds
    ) as (site, peer, stream):
        site.stop()
        with anyio.CancelScope(shield=True):
            await eventually(lambda: is_closed(stream))
            with pytest.raises(ConnectionError):
                while await peer.receive():
                    pass


def open_files() -> int:
    return len(list(FDS.iterdir()))


@pytest.mark.skipif(not FDS.is_dir(), reason="counts what the kernel lists there")
async def test_every_socket_is_closed_in_the_end(kind: Kind) -> None:
    async def use_it() -> int:
        async with serving_on_loopback(kind, hello) as site:
            for fields in [(), ("connection: close",), ()]:
                peer = site.connect()
                await peer.send(get("/", *fields))
                await peer.receive()
        return open_files()

    await use_it()  # an event loop opens what it needs itself
    before = await use_it()
    assert await use_it() <= before
