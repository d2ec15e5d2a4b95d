"""Connections over TLS: what the application is told, how long a handshake may take, and what a drain leaves alone."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, read_body, reply
from tests.helpers.cancelling import VICTIM, at_every_await
from tests.helpers.certificates import (
    client_certificate,
    client_context,
    foreign_client_certificate,
    identity,
    server_certificate,
)
from tests.helpers.serving import Site, serving
from tests.helpers.stream_pairs import MemoryPeer, TlsPeer
from tests.helpers.transcripts import get, ok, post
from trioserve._streams.memory import MemoryClient
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

MUCH = bytes(range(256)) * 4096  # 1 MiB


@asynccontextmanager
async def serving_tls(app: App, verify: ssl.VerifyMode = ssl.CERT_NONE, **options: Any) -> AsyncIterator[Site]:
    async with serving(app, ssl_context=identity(verify).context, **options) as site:
        yield site


def peer_of(client: MemoryClient, context: ssl.SSLContext | None = None) -> TlsPeer:
    return TlsPeer(MemoryPeer(client), context or client_context())


async def receive_exactly(peer: TlsPeer, count: int) -> bytes:
    received = b""
    while len(received) < count:
        data = await peer.receive()
        assert data, received
        received += data
    return received


class Recorder:
    """Keeps the scopes it was called with."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await reply(send, b"")


# -- the scope ---------------------------------------------------------------------------------------------------------


async def test_the_scope_tells_of_tls() -> None:  # ASGI TLS extension
    app = Recorder()
    async with serving_tls(app, ssl.CERT_OPTIONAL) as site:
        peer = peer_of(site.connect(), client_context(client_certificate()))
        await peer.send(get())
        await peer.receive()
    [scope] = app.scopes
    assert scope["scheme"] == "https"
    tls = scope["extensions"]["tls"]
    assert tls["tls_version"] == 0x0304
    assert tls["cipher_suite"] in (0x1301, 0x1302, 0x1303)
    assert tls["server_cert"] is None  # an ssl_context does not tell
    assert tls["client_cert_chain"][0] == client_certificate().cert_chain_pems[0].bytes().decode()
    assert tls["client_cert_name"].startswith("CN=Ann,OU=Testing cert")
    assert tls["client_cert_name"].endswith(",O=Example\\, Inc.")
    assert tls["client_cert_error"] is None
    assert "http.response.trailers" in scope["extensions"]


async def test_each_request_has_its_own_copy() -> None:
    app = Recorder()
    async with serving_tls(app) as site:
        peer = peer_of(site.connect())
        for _ in range(2):
            await peer.send(get())
            await peer.receive()
            app.scopes[-1]["extensions"]["tls"].clear()
            app.scopes[-1]["extensions"].clear()
        await peer.send(get(version="1.0"))
        await peer.receive()
    assert "http.response.trailers" not in app.scopes[-1]["extensions"]  # HTTP/1.0 has none
    assert len(app.scopes[-1]["extensions"]["tls"]) == 6
    assert app.scopes[-1]["extensions"]["tls"]["client_cert_chain"] == ()
    assert app.scopes[-1]["extensions"]["tls"]["client_cert_name"] is None


async def test_a_proxy_s_header_comes_before_the_handshake() -> None:
    app = Recorder()
    async with serving_tls(app, proxy_protocol=True, forwarded_allow_ips="*") as site:
        peer = peer_of(site.connect())
        peer.send_first(b"PROXY TCP4 203.0.113.7 192.0.2.80 4711 443\r\n")
        await peer.send(get())
        await peer.receive()
    [scope] = app.scopes
    assert (scope["scheme"], scope["client"], scope["server"]) == (
        "https", ("203.0.113.7", 4711), ("192.0.2.80", 443))
    assert "tls" in scope["extensions"]


async def test_in_the_clear_there_is_no_extension() -> None:
    app = Recorder()
    async with serving(app) as site:
        await site.answer_to(get())
    assert app.scopes[0]["scheme"] == "http"
    assert "tls" not in app.scopes[0]["extensions"]


async def test_a_certificate_file_is_shown_to_the_application(tmp_path: Any) -> None:
    (tmp_path / "both.pem").write_bytes(server_certificate().private_key_and_cert_chain_pem.bytes())
    app = Recorder()
    async with serving(app, ssl_certfile=str(tmp_path / "both.pem")) as site:
        peer = peer_of(site.connect())
        await peer.send(get())
        await peer.receive()
    certificate = app.scopes[0]["extensions"]["tls"]["server_cert"]
    assert certificate == server_certificate().cert_chain_pems[0].bytes().decode()


# -- requests ----------------------------------------------------------------------------------------------------------


async def test_requests_one_after_the_other_and_pipelined() -> None:
    async with serving_tls(hello) as site:
        peer = peer_of(site.connect())
        for target in (b"/a", b"/b"):
            await peer.send(get(target.decode()))
            assert await peer.receive() == ok(target)
        await peer.send(get("/c") + get("/d"))
        assert await receive_exactly(peer, 2 * len(ok(b"/c"))) == ok(b"/c") + ok(b"/d")


async def test_a_large_body_there_and_back() -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, await read_body(receive))

    async with serving_tls(echo) as site, anyio.create_task_group() as sending:
        peer = peer_of(site.connect())
        await peer.open()
        sending.start_soon(peer.send, post(MUCH))
        assert await receive_exactly(peer, len(ok(MUCH))) == ok(MUCH)


async def test_a_body_that_is_cut_short_is_not_taken_for_a_whole_one() -> None:  # RFC 8446 §6.1
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        ended.append(message["type"])

    async with serving_tls(app) as site:
        client = site.connect()
        peer = peer_of(client)
        await peer.send(post(b"half", length=8))
        client.send_eof()  # without close_notify
        await peer.receive()
    assert ended == ["http.disconnect"]


async def test_a_response_that_ends_with_the_connection_ends_with_close_notify() -> None:  # RFC 9112 §9.8
    async with serving_tls(hello) as site:
        peer = peer_of(site.connect())
        await peer.send(get("/a", version="1.0"))
        assert (await peer.receive()).endswith(b"/a")
        with pytest.raises(ssl.SSLZeroReturnError):
            await peer.perform(peer.ssl.read)
            raise ssl.SSLZeroReturnError  # an empty piece says the same
        assert await peer.inner.receive() == b""


async def test_a_response_that_is_cut_short_has_no_close_notify() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        raise ValueError("on purpose")

    async with serving_tls(app) as site:
        client = site.connect()
        peer = peer_of(client)
        await peer.send(get(version="1.0"))
        received = b""
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            while data := await peer.perform(lambda: peer.ssl.read(1000)):
                received += data
        assert received in (b"",) or received.endswith(b"begun")


# -- the handshake's time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
async def test_a_handshake_that_does_not_end(caplog: pytest.LogCaptureFixture, begun: bool) -> None:
    caplog.set_level("DEBUG", "trioserve")
    async with serving_tls(hello, timeout_tls_handshake=7) as site:
        client = site.connect()
        peer = peer_of(client)
        with seconds_passed() as elapsed:
            if begun:
                with pytest.raises(ssl.SSLWantReadError):
                    peer.ssl.do_handshake()
                await client.send_all(peer.outgoing.read()[:-1])
            await client.receive_rest()
        assert elapsed.seconds == 7
        assert client.lost
        await settled()
        assert site.connections == 0
    assert "tls-handshake-timeout: closing the connection of ('192.0.2.1', 50000)" in caplog.text


async def test_a_handshake_that_drips_gets_no_more_time() -> None:
    async with serving_tls(hello) as site, anyio.create_task_group() as dripping:
        client = site.connect()
        peer = peer_of(client)
        with pytest.raises(ssl.SSLWantReadError):
            peer.ssl.do_handshake()
        hello_message = peer.outgoing.read()

        @dripping.start_soon
        async def drip() -> None:
            for position in range(9):
                client.send_nowait(hello_message[position : position + 1])
                await anyio.sleep(1.5)

        with seconds_passed() as elapsed:
            await client.receive_rest()
        assert elapsed.seconds == 10
        dripping.cancel_scope.cancel()


async def test_the_handshakes_time_can_be_unlimited_and_does_not_run_on() -> None:
    async with serving_tls(hello, timeout_tls_handshake=None, timeout_header=None) as site:
        client = site.connect()
        peer = peer_of(client)
        await anyio.sleep(3600)
        await peer.send(get("/a"))
        assert await peer.receive() == ok(b"/a")
    async with serving_tls(hello, timeout_header=None, timeout_keep_alive=None) as site:
        peer = peer_of(site.connect())
        await peer.open()
        await anyio.sleep(3600)
        await peer.send(get("/a"))
        assert await peer.receive() == ok(b"/a")


async def test_a_client_that_is_refused_learns_why() -> None:
    app = Recorder()
    async with serving_tls(app, ssl.CERT_REQUIRED) as site:
        client = site.connect()
        peer = peer_of(client, client_context(foreign_client_certificate()))
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            await peer.send(get())
            await peer.receive()
        client.send_eof()
        await settled()
        assert site.connections == 0
    assert app.scopes == []


async def test_plain_http_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "trioserve")
    app = Recorder()
    async with serving_tls(app) as site:
        head, body = (await site.everything_after(get())).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head
    assert b"https://" in body
    assert app.scopes == []
    assert "the client speaks plain HTTP" in caplog.text


# -- draining ----------------------------------------------------------------------------------------------------------


async def test_a_drain_waits_for_handshakes_and_the_requests_they_were_for() -> None:
    async with anyio.create_task_group() as tasks:
        async with serving_tls(hello) as site:
            peer = peer_of(site.connect())
            with pytest.raises(ssl.SSLWantReadError):
                peer.ssl.do_handshake()
            await peer.flush()  # ClientHello
            await settled()
            site.server.request_shutdown("test")
            await settled()
            assert site.connections == 1
            await peer.open()
            await settled()
            await peer.send(get("/late"))
            assert await peer.receive() == ok(b"/late", "connection: close")
            assert await peer.receive() == b""
        tasks.cancel_scope.cancel()


async def test_a_drain_does_not_wait_for_a_request_that_never_comes() -> None:
    async with serving_tls(hello) as site:
        silent, opened = site.connect(), peer_of(site.connect())
        with pytest.raises(ssl.SSLWantReadError):
            opened.ssl.do_handshake()
        await opened.flush()
        await settled()
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test")
            await opened.open()
            assert await opened.receive() == b""
            await silent.receive_rest()
        assert elapsed.seconds == 10


async def test_idle_connections_leave_a_drain_at_once() -> None:
    async with serving_tls(hello) as site:
        peer = peer_of(site.connect())
        await peer.send(get("/a"))
        await peer.receive()
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test")
            assert await peer.receive() == b""
        assert elapsed.seconds == 0


# -- cancellation ------------------------------------------------------------------------------------------------------


async def upload(peer: TlsPeer) -> None:
    await peer.send(post(MUCH[:120_000]))
    await peer.receive()


async def two_requests(peer: TlsPeer) -> None:
    for _ in range(2):
        await peer.send(get())
        await peer.receive()
    await peer.send_eof()


@pytest.mark.parametrize("conversation", [upload, two_requests])
async def test_cancelled_at_every_await(
    monkeypatch: pytest.MonkeyPatch, conversation: Callable[[TlsPeer], Any]
) -> None:
    context = identity().context

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, await read_body(receive))

    async def scenario() -> None:
        async with serving(echo, ssl_context=context, capacity=20_000) as site:
            victim, bystander = site.listener.connect(VICTIM), peer_of(site.connect())
            async with anyio.create_task_group() as talking:

                @talking.start_soon
                async def talk() -> None:
                    with suppress(OSError):  # which SSLError is, too
                        await conversation(peer_of(victim))
                    victim.abort()

            await bystander.send(post(b"still here"))
            assert await bystander.receive() == ok(b"still here")

    assert await at_every_await(monkeypatch, scenario) > 1
