"""TLS over connections in memory: its clients, its facts in the scope, and certificates of clients, in virtual time."""

import importlib.util
import json
import ssl
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.certificates import authority, client_certificate, client_context, files_of, server_certificate
from trioserve import ConfigError
from trioserve._streams.memory import memory_stream_pair
from trioserve._types import Receive, Scope, Send
from trioserve.testing import MemoryTransport, RawClient, open_test_server, raw_request, seconds_passed

LAST = {"connection": "close"}


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, Any]:
    """Options with a certificate for ``localhost``."""
    cert, key = files_of(server_certificate(), tmp_path)
    return {"ssl_certfile": str(cert), "ssl_keyfile": str(key), "lifespan": "off"}


@pytest.fixture
def mutual(certificate: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Options that ask clients for a certificate, too."""
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(authority().cert_pem.bytes())
    return certificate | {"ssl_cert_reqs": "required", "ssl_ca_certs": str(authorities)}


async def facts(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what the scope says of the connection; an hour later, if the path is ``/slow``."""
    if scope["path"] == "/slow":
        await anyio.sleep(3600)
    tls = scope["extensions"]["tls"]
    answer = {
        "scheme": scope["scheme"], "http": scope["http_version"], "version": tls["tls_version"],
        "server": tls["server_cert"], "client": tls["client_cert_name"]}
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps(answer)})
        await send({"type": "websocket.close"})
    else:
        await reply(send, json.dumps(answer).encode())


async def test_a_request_over_tls(certificate: dict[str, Any]) -> None:
    async with open_test_server(facts, **certificate) as server, server.client(http2=False) as client:
        answer = await client.get("/")
        assert (str(answer.url), answer.http_version) == ("https://test/", "HTTP/1.1")
        assert answer.json() == {
            "scheme": "https", "http": "1.1", "version": 0x0304,
            "server": server_certificate().cert_chain_pems[0].bytes().decode(), "client": None}
        await client.get("/")
        assert server.connections == 1


async def test_timeouts_are_virtual(certificate: dict[str, Any]) -> None:
    async with (
        open_test_server(facts, timeout_request=30, **certificate) as server,
        server.client(timeout=None) as client,
    ):
        with seconds_passed() as elapsed:
            assert (await client.get("/slow")).status_code == 504
        assert elapsed.seconds == 30


async def test_a_handshake_that_does_not_begin(certificate: dict[str, Any]) -> None:
    async with open_test_server(facts, timeout_tls_handshake=7, **certificate) as server:
        with seconds_passed() as elapsed:
            assert await server.connect().receive_rest() == b""
        assert elapsed.seconds == 7


@pytest.mark.parametrize(("server_has", "client_takes", "version"), [
    (None, None, "HTTP/2"), (False, None, "HTTP/1.1"), (None, False, "HTTP/1.1"), (True, True, "HTTP/2")])
async def test_the_version_is_chosen_by_alpn(
    certificate: dict[str, Any], server_has: bool | None, client_takes: bool | None, version: str
) -> None:  # RFC 7301 §3.2
    async with (
        open_test_server(facts, http2=server_has, **certificate) as server,
        server.client(http2=client_takes) as client,
    ):
        answer = await client.get("/")
    assert answer.http_version == version
    assert answer.json()["scheme"] == "https"


async def test_the_transports_speak_both_versions(certificate: dict[str, Any]) -> None:
    async with open_test_server(facts, **certificate) as server:
        for transport in (server.http, server.http2):
            async with httpx.AsyncClient(transport=transport) as client:
                assert (await client.get(f"{server.url}/")).http_version == "HTTP/2"


async def test_without_the_package_h2_the_client_speaks_http_1(
    certificate: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    async with open_test_server(facts, **certificate) as server, server.client() as client:
        assert (await client.get("/")).http_version == "HTTP/1.1"


async def test_a_websocket_over_tls(certificate: dict[str, Any]) -> None:
    async with open_test_server(facts, **certificate) as server, server.websocket("/") as websocket:
        answer = json.loads(str(await websocket.receive()))
    assert (answer["scheme"], answer["version"]) == ("wss", 0x0304)


async def test_a_websocket_whose_client_vanishes(certificate: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["code"] == 1006

    async with open_test_server(app, ws_ping_interval=20, ws_ping_timeout=20, **certificate) as server:
        async with server.websocket("/") as websocket:
            websocket.connection.vanish()
        await anyio.sleep(60)
        assert server.connections == 0


async def test_bytes_over_tls(certificate: dict[str, Any]) -> None:
    async with open_test_server(hello, **certificate) as server, await server.connect_tls() as stream:
        await stream.send(raw_request(headers=LAST))
        assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_a_client_that_verifies(certificate: dict[str, Any]) -> None:
    async with open_test_server(hello, **certificate) as server:
        stream = await server.connect_tls(hostname="localhost", ssl_context=client_context())
        await stream.aclose()
        with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 'test'"):
            await server.connect_tls(ssl_context=client_context())
        async with server.client(ssl_context=client_context()) as client:
            assert (await client.get("https://localhost/")).status_code == 200
            with pytest.raises(httpx.ConnectError, match="not valid for 'test'"):
                await client.get("/")


async def test_a_client_with_a_certificate(mutual: dict[str, Any]) -> None:
    context = client_context(client_certificate())
    context.check_hostname = False
    async with open_test_server(facts, **mutual) as server:
        async with server.client(ssl_context=context) as client:
            assert (await client.get("/")).json()["client"].startswith("CN=Ann,")
        async with server.websocket("/", ssl_context=context) as websocket:  # the same context, with another ALPN
            assert "Ann" in str(await websocket.receive())


async def test_a_client_without_the_certificate_that_is_asked_for(mutual: dict[str, Any]) -> None:
    async with open_test_server(facts, **mutual) as server, server.client() as client:
        with pytest.raises(httpx.ReadError, match="CERTIFICATE_REQUIRED"):
            await client.get("/")
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            async with server.websocket("/"):
                raise AssertionError("not reached")
        stream = await server.connect_tls()
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            await stream.receive()


async def test_a_context_of_the_servers_own() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_certificate().configure_cert(context)
    async with open_test_server(hello, ssl_context=context) as server, server.client() as client:
        answer = await client.get("/")
    assert (answer.url.scheme, answer.status_code) == ("https", 200)


async def test_http_without_tls_says_what_to_do(certificate: dict[str, Any]) -> None:
    async with open_test_server(hello, **certificate) as server, server.client() as client:
        with pytest.raises(httpx.UnsupportedProtocol, match="take https://"):
            await client.get("http://test/")


async def test_a_handshake_meets_the_timeout_of_the_client() -> None:
    silent, _ = memory_stream_pair()  # nobody is at its other end
    transport = MemoryTransport(lambda: RawClient(silent), ssl_context=client_context())
    async with httpx.AsyncClient(transport=transport, timeout=3) as client:
        with seconds_passed() as elapsed, pytest.raises(httpx.ConnectTimeout):
            await client.get("https://localhost/")
    assert elapsed.seconds == 3
    assert silent.lost


async def test_tls_settings_of_a_client_need_a_server_with_tls() -> None:
    async with open_test_server(hello, lifespan="off") as server:
        with pytest.raises(ConfigError, match="the server has no TLS"):
            server.client(ssl_context=client_context())
        with pytest.raises(ConfigError, match="the server has no TLS"):
            async with server.websocket("/", ssl_context=client_context()):
                raise AssertionError("not reached")


async def test_http_2_that_is_switched_off(certificate: dict[str, Any]) -> None:
    async with open_test_server(hello, http2=False, **certificate) as server:
        with pytest.raises(ConfigError, match="only with http2=True"):
            server.client(http2=True)
