"""Listeners with TLS and without in one server: who is served how, whoever has bound the sockets."""

import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from anyio.streams.tls import TLSStream

import trioserve
from tests.helpers.apps import hello, reply
from tests.helpers.certificates import client_context, identity
from trioserve import BindFailed, Config, ConfigError
from trioserve._server import Server
from trioserve._server.listeners import Bound, bind, release
from trioserve._streams import Address
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled
from trioserve.testing.running import running

pytestmark = [pytest.mark.real_clock, pytest.mark.usefixtures("nothing_unclosed")]

QUIET: Final = Config(access_log=False, lifespan="off", port=0, insecure_bind=("127.0.0.1:0",))
REQUEST: Final = b"GET /here HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
PROXY_LINE: Final = b"PROXY TCP4 203.0.113.9 198.51.100.7 56324 443\r\n"


async def tells_how(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, json.dumps([scope["scheme"], "tls" in scope["extensions"], scope["client"]]).encode())


@asynccontextmanager
async def serving(config: Config, **more: Any) -> AsyncIterator[list[Address]]:
    server = Server(tells_how, config, ssl_context=identity().context, **more)
    async with running(server):
        yield server.addresses


async def connect(address: Address) -> anyio.abc.ByteStream:
    host, port = address
    return await (anyio.connect_unix(host) if port is None else anyio.connect_tcp(host, port))


async def answer(stream: anyio.abc.ByteStream) -> list[Any]:
    """Of the one request on this connection, scheme, whether there is the tls extension, and client in the scope."""
    await stream.send(REQUEST)
    told: list[Any] = json.loads(b"".join([data async for data in stream]).partition(b"\r\n\r\n")[2])
    return told


async def in_the_clear(address: Address, prefix: bytes = b"") -> list[Any]:
    async with await connect(address) as stream:
        await stream.send(prefix)
        return await answer(stream)


async def over_tls(address: Address, prefix: bytes = b"") -> list[Any]:
    async with await connect(address) as stream:
        await stream.send(prefix)
        return await answer(await TLSStream.wrap(
            stream, hostname="localhost", ssl_context=client_context(), standard_compatible=False))


# -- who is served how -------------------------------------------------------------------------------------------------


async def test_one_server_speaks_both(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    async with serving(QUIET.replace(insecure_bind=("127.0.0.1:0", f"unix:{path}"))) as [secure, plain, unix]:
        assert (await over_tls(secure))[:2] == ["https", True]
        assert (await in_the_clear(plain))[:2] == ["http", False]
        assert (await in_the_clear(unix))[:2] == ["http", False]
        with pytest.raises(ssl.SSLError):
            await over_tls(plain)
    assert not Path(path).exists()


async def test_in_the_clear_nobody_is_served_where_tls_is_spoken() -> None:
    async with serving(QUIET) as [secure, _], await connect(secure) as stream:
        await stream.send(REQUEST)
        assert b"".join([data async for data in stream]).startswith(b"HTTP/1.1 400 ")


async def test_the_log_says_which_is_which(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    async with serving(QUIET) as [secure, plain]:
        lines = [message for message in caplog.messages if message.startswith("Listening on ")]
    assert lines[0].startswith(f"Listening on https://127.0.0.1:{secure[1]} ")
    assert lines[1].startswith(f"Listening on http://127.0.0.1:{plain[1]} ")


@pytest.mark.parametrize("ask", [over_tls, in_the_clear])
async def test_the_proxy_protocol_is_expected_on_both(ask: Callable[[Address, bytes], Awaitable[list[Any]]]) -> None:
    async with serving(QUIET.replace(proxy_protocol=True)) as addresses:
        address = addresses[0 if ask is over_tls else 1]
        assert (await ask(address, PROXY_LINE))[2] == ["203.0.113.9", 56324]
        async with await connect(address) as stream:
            await stream.send(REQUEST)
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()


async def test_the_time_of_the_handshake_does_not_run_for_a_proxy_header_in_the_clear() -> None:
    config = QUIET.replace(proxy_protocol=True, timeout_tls_handshake=0.001)
    async with serving(config) as [secure, plain], await connect(plain) as stream, await connect(secure) as other:
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await other.receive()  # its time is over, and so would ours be
        await stream.send(PROXY_LINE)
        assert (await answer(stream))[2] == ["203.0.113.9", 56324]


async def test_a_shutdown_waits_for_no_handshake_in_the_clear() -> None:
    forever = {"timeout_graceful_shutdown": None, "timeout_header": None, "timeout_tls_handshake": None}
    config = QUIET.replace(proxy_protocol=True, **forever)
    server = Server(tells_how, config, ssl_context=identity().context)
    async with running(server), await connect(server.addresses[1]) as stream:
        while not server.open_connections:
            await settled()
        server.request_shutdown("the test")
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()


# -- whose sockets -----------------------------------------------------------------------------------------------------


async def test_sockets_of_the_program_have_tls_and_insecure_addresses_come_in_addition() -> None:
    ours = socket.create_server(("127.0.0.1", 0))
    async with serving(QUIET, sockets=[ours]) as [secure, plain]:
        assert secure == ours.getsockname()
        assert (await over_tls(secure))[0] == "https"
        assert (await in_the_clear(plain))[0] == "http"


async def test_what_was_bound_elsewhere_keeps_its_kind() -> None:
    bounds = await bind(QUIET)
    assert [bound.plain for bound in bounds] == [False, True]
    async with serving(QUIET, get_sockets=as_a_worker_gets(bounds)) as [secure, plain]:
        assert (await over_tls(secure))[0] == "https"
        assert (await in_the_clear(plain))[0] == "http"


def as_a_worker_gets(bounds: list[Bound]) -> Callable[[], Awaitable[list[Bound]]]:
    async def get_sockets() -> list[Bound]:
        return bounds

    return get_sockets


async def test_an_insecure_address_in_use_closes_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        ours = socket.create_server(("127.0.0.1", 0))
        with pytest.raises(BindFailed, match=f"cannot listen on 127.0.0.1:{port}: the port is in use"):
            await bind(QUIET.replace(insecure_bind=(f"127.0.0.1:{port}",)), [ours])
        assert ours.fileno() == -1


async def test_permissions_hold_for_insecure_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    bounds = await bind(QUIET.replace(insecure_bind=(f"unix:{path}",), uds_permissions="600"))
    assert path.stat().st_mode & 0o777 == 0o600
    release(bounds)
    assert not path.exists()


# -- without certificates ----------------------------------------------------------------------------------------------


async def test_without_certificates_it_is_a_mistake() -> None:
    with pytest.raises(ConfigError) as error:
        await trioserve.serve(hello, QUIET)
    assert error.value.option == "insecure_bind"
    assert "use --bind" in error.value.problem
