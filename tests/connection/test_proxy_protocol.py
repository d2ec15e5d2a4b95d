"""Connections that begin with a PROXY header: who may send one, what it changes, and what happens without."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
import pytest

from tests.helpers.apps import reply
from tests.helpers.cancelling import VICTIM, at_every_await
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import body_of, get, receive_response
from trioserve import ClientDisconnected
from trioserve._protocol.proxy_line import SIGNATURE
from trioserve._streams import Address
from trioserve._streams.memory import MemoryClient, MemoryListener
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

PROXY: Final = ("10.0.0.1", 4000)
HERE: Final = ("192.0.2.80", 8000)
LINE: Final = b"PROXY TCP4 203.0.113.9 198.51.100.7 56324 443\r\n"
BLOCK: Final = SIGNATURE + b"\x21\x11\x00\x0c" + bytes([203, 0, 113, 9, 198, 51, 100, 7]) + b"\xdc\x04\x01\xbb"
UNIX_BLOCK: Final = SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216)


async def tells_ends(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, json.dumps([scope["client"], scope["server"]]).encode())


class ProxiedSite(Site):
    """A server that expects the PROXY protocol."""

    def connect(self, client: Address | None = PROXY) -> MemoryClient:
        return super().connect(client)

    async def ends(self, *pieces: bytes, peer: Address | None = PROXY) -> Any:
        """Client and server of the scope, for a connection that begins with these bytes."""
        client = self.connect(peer)
        for piece in pieces:
            await client.send_all(piece)
            await settled()
        told = json.loads(body_of(await receive_response(client)))
        await client.aclose()
        return [end and tuple(end) for end in told]

    async def refused(self, *pieces: bytes, peer: Address | None = PROXY, ends: bool = False) -> bool:
        """The connection is reset, and not one byte comes back."""
        client = self.connect(peer)
        for piece in pieces:
            await client.send_all(piece)
        if ends:
            client.send_eof()
        return await client.receive_rest() == b"" and client.lost


@asynccontextmanager
async def expecting(address: Address = HERE, **options: Any) -> AsyncIterator[ProxiedSite]:
    options = {"proxy_protocol": True, "forwarded_allow_ips": "10.0.0.0/8", **options}
    async with serving(tells_ends, listeners=[MemoryListener(address)], **options) as site:
        assert site.server.addresses == [address]
        yield ProxiedSite(site.server, site.listener)


@pytest.mark.parametrize(("header", "client", "server"), [
    (LINE, ("203.0.113.9", 56324), ("198.51.100.7", 443)),
    (BLOCK, ("203.0.113.9", 56324), ("198.51.100.7", 443)),
    (b"PROXY TCP6 2001:db8::9 2001:db8::7 56324 443\r\n", ("2001:db8::9", 56324), ("2001:db8::7", 443)),
    (b"PROXY UNKNOWN\r\n", PROXY, HERE),
    (SIGNATURE + b"\x20\x00\x00\x00", PROXY, HERE),
    (UNIX_BLOCK, None, HERE),
], ids=["1", "2", "IPv6", "unknown", "local", "unix"])
async def test_the_scope_has_the_ends_of_the_header(header: bytes, client: Any, server: Any) -> None:
    async with expecting() as site:
        assert await site.ends(header + get()) == [client, server]
        assert await site.ends(header, get()) == [client, server]
        assert await site.ends(header + get()[:9], get()[9:]) == [client, server]
        assert await site.ends(*[bytes([byte]) for byte in header + get()]) == [client, server]


async def test_it_comes_once_and_holds_for_all_requests_of_the_connection() -> None:
    async with expecting() as site:
        client = site.connect()
        await client.send_all(LINE + get() + get())
        for _ in range(2):
            assert json.loads(body_of(await receive_response(client)))[0] == ["203.0.113.9", 56324]
        await client.send_all(LINE + get())
        assert (await receive_response(client)).startswith(b"HTTP/1.1 400 ")
        await client.aclose()


async def test_the_access_log_names_the_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve.access")
    async with expecting(access_log=True) as site:
        await site.ends(LINE + get())
    assert '203.0.113.9:56324 - "GET / ' in caplog.text


# -- who is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sent", "reason"), [
    (get(), "it does not begin with a PROXY header"),
    (b"\x16\x03\x01", "it does not begin with a PROXY header"),
    (b"PROXY nonsense\r\n", "its PROXY line is malformed"),
    (SIGNATURE + b"\x11\x11\x00\x00", "its PROXY header has another version or command"),
])
async def test_without_a_good_header(sent: bytes, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    async with expecting() as site:
        assert await site.refused(sent)
        assert await site.ends(LINE + get())  # others are not concerned
    assert f"Refused the connection of ('10.0.0.1', 4000): {reason}" in caplog.text


async def test_a_probe_that_sends_nothing_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async with expecting() as site:
        assert await site.refused(b"", ends=True)
    assert "Refused" not in caplog.text


@pytest.mark.parametrize("sent", [LINE[:9], BLOCK[:20]])
async def test_an_early_end(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with expecting() as site:
        assert await site.refused(sent, ends=True)
    assert "it ended before its PROXY header did" in caplog.text


@pytest.mark.parametrize(("peer", "allowed"), [
    (("203.0.113.1", 1), "10.0.0.0/8"), (("127.0.0.1", 1), "10.0.0.0/8"), (PROXY, "unix"), (PROXY, "")])
@pytest.mark.parametrize("sent", [LINE + get(), BLOCK, get(), b""])
async def test_peers_that_are_not_trusted(
    peer: Address, allowed: str, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with expecting(forwarded_allow_ips=allowed) as site:
        assert await site.refused(sent, peer=peer)
    refused = f"Refused the connection of {peer}: it is not one of the trusted proxies (forwarded_allow_ips)"
    assert refused in caplog.text


async def test_peers_on_a_unix_socket() -> None:
    path = ("/run/app.sock", None)
    async with expecting(path, forwarded_allow_ips="unix") as site:
        assert await site.ends(LINE + get(), peer=None) == [("203.0.113.9", 56324), ("198.51.100.7", 443)]
        assert await site.ends(b"PROXY UNKNOWN\r\n" + get(), peer=None) == [None, path]
    async with expecting(path) as site:
        assert await site.refused(LINE + get(), peer=None)


async def test_without_the_option_a_header_is_a_bad_request() -> None:
    async with expecting(proxy_protocol=False) as site:
        client = site.connect()
        await client.send_all(LINE + get())
        assert (await receive_response(client)).startswith(b"HTTP/1.1 400 ")
        await client.aclose()


# -- header fields of whoever is behind --------------------------------------------------------------------------------


@pytest.mark.parametrize(("header", "allowed", "client"), [
    (LINE, "10.0.0.0/8", ("203.0.113.9", 56324)),  # the stranger's own words
    (LINE, "10.0.0.0/8,203.0.113.9", ("1.1.1.1", 0)),  # a trusted proxy behind a trusted balancer
    (b"PROXY UNKNOWN\r\n", "10.0.0.0/8", ("1.1.1.1", 0)),  # the proxy's own request
    (UNIX_BLOCK, "10.0.0.0/8,unix", None),  # somebody on another machine's unix socket
])
async def test_header_fields_are_judged_by_the_client_of_the_header(header: bytes, allowed: str, client: Any) -> None:
    async with expecting(forwarded_allow_ips=allowed) as site:
        told = await site.ends(header + get("/", "X-Forwarded-For: 1.1.1.1"))
    assert told[0] == client


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", LINE[:-1], BLOCK[:-1]])
async def test_the_header_has_as_long_as_a_request_head(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with expecting(timeout_header=7.0) as site:
        with seconds_passed() as elapsed:
            assert await site.refused(sent)
    assert elapsed.seconds == 7
    assert "it sent no whole PROXY header within 7 seconds" in caplog.text


async def test_its_bytes_do_not_give_it_more_time() -> None:
    async with expecting(timeout_header=7.0) as site, anyio.create_task_group() as sending:
        client = site.connect()

        async def drip() -> None:
            for byte in LINE[:-1]:
                client.send_nowait(bytes([byte]))
                await anyio.sleep(1)

        sending.start_soon(drip)
        with seconds_passed() as elapsed:
            assert await client.receive_rest() == b""
        sending.cancel_scope.cancel()
    assert elapsed.seconds == 7


async def test_the_request_head_has_its_own_time() -> None:
    async with expecting(timeout_header=7.0) as site:
        client = site.connect()
        await anyio.sleep(6)
        await client.send_all(LINE)
        await anyio.sleep(6)
        await client.send_all(get())
        assert json.loads(body_of(await receive_response(client)))[0] == ["203.0.113.9", 56324]
        await client.aclose()


async def test_without_a_timeout_it_may_take_an_hour() -> None:
    async with expecting(timeout_header=None) as site:
        client = site.connect()
        await anyio.sleep(3600)
        await client.send_all(LINE + get())
        assert json.loads(body_of(await receive_response(client)))[0] == ["203.0.113.9", 56324]
        await client.aclose()


# -- the end of the server ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", LINE[:9]])
async def test_a_drain_does_not_wait_for_headers(sent: bytes) -> None:
    async with expecting() as site:
        client = site.connect()
        await client.send_all(sent)
        await settled()
        with seconds_passed() as elapsed:
            site.server.request_shutdown("test")
            assert await client.receive_rest() == b""
    assert elapsed.seconds == 0


# -- cancellation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", LINE[:9], LINE, LINE + get()])
async def test_cancelled_at_any_await_it_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with expecting(forwarded_allow_ips="*", timeout_header=1.0) as site:
            victim = site.connect(VICTIM)
            await victim.send_all(sent[:5])
            await settled()
            with suppress(ClientDisconnected):
                await victim.send_all(sent[5:])
                victim.send_eof()
            await victim.receive_rest()
            await settled()
            assert site.connections == 0
            assert await site.ends(LINE + get()) == [("203.0.113.9", 56324), ("198.51.100.7", 443)]

    assert await at_every_await(monkeypatch, scenario) > 0
