"""Requests for other hosts than those of ``--server-name``."""

import logging
from typing import Any

import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.lifespans import LifespanApp
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, ok, status_of
from tests.helpers.ws_client import echo as ws_echo
from tests.helpers.ws_client import handshake, open_websocket
from trioserve._types import Receive, Scope, Send

MISDIRECTED = (
    b"HTTP/1.1 421 Misdirected Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 51\r\n\r\n"
    b"this server does not serve the host of the request\n"
)


def request(host: str, target: str = "/") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


@pytest.mark.parametrize("host", ["shop.example", "SHOP.example:8443", "www.shop.example", "[::1]:8000"])
async def test_hosts_that_are_served(host: str) -> None:
    async with serving(hello, server_name=["shop.example", "*.shop.example", "::1"]) as site:
        assert await site.answer_to(request(host)) == ok(b"/")


@pytest.mark.parametrize("host", ["other.example", "shop.example.evil", "192.0.2.1", ""])
async def test_hosts_that_are_not(host: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("it is not asked")

    async with serving(app, server_name=["shop.example"]) as site:
        assert await site.answer_to(request(host)) == MISDIRECTED


async def test_the_target_tells_the_host_too() -> None:  # RFC 9112 §3.2.2
    async with serving(hello, server_name=["shop.example"]) as site:
        assert await site.answer_to(request("shop.example", "http://other.example/")) == MISDIRECTED
        assert await site.answer_to(request("other.example", "http://shop.example/")) == ok(b"/")


async def test_a_request_without_a_host() -> None:
    async with serving(hello, server_name=["shop.example"]) as site:
        assert status_of(await site.everything_after(b"GET / HTTP/1.0\r\n\r\n")) == 421


async def test_the_connection_goes_on_after_one_that_is_refused() -> None:
    async with serving(hello, server_name=["shop.example"]) as site:
        client = site.connect()
        await client.send_all(request("other.example") + request("shop.example"))
        client.send_eof()
        assert await client.receive_rest() == MISDIRECTED + ok(b"/")


async def test_a_websocket_for_another_host() -> None:
    async with serving(ws_echo, server_name=["a"]) as site:
        await (await open_websocket(site)).say_goodbye()
        assert await site.everything_after(handshake().replace(b"ost: a\r\n", b"ost: b\r\n")) == MISDIRECTED.replace(
            b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")


async def test_a_trusted_proxy_says_which_host_was_asked_for() -> None:
    trusting: dict[str, Any] = {"forwarded_allow_ips": "*", "forwarded_headers": "x-forwarded-host"}
    forwarded = request("backend").replace(b"\r\n\r\n", b"\r\nX-Forwarded-Host: shop.example\r\n\r\n")
    async with serving(hello, server_name=["shop.example"], **trusting) as site:
        assert await site.answer_to(forwarded) == ok(b"/")
    async with serving(hello, server_name=["backend"], **trusting) as site:
        assert await site.answer_to(forwarded) == MISDIRECTED


async def test_the_lifespan_has_no_host() -> None:
    app = LifespanApp()
    async with serving(app, server_name=["shop.example"], lifespan="on"):
        pass
    assert app.events == ["startup", "started", "shutdown", "stopped"]


async def test_it_is_in_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve.access")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"")

    async with serving(app, server_name=["shop.example"], access_log=True) as site:
        assert body_of(await site.answer_to(request("other.example"))).startswith(b"this server")
    assert "421" in caplog.text
