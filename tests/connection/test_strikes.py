"""Each limit and each timeout that strikes a client is counted, once, by the name of its option."""

from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any, TypeAlias

import anyio
import pytest

from tests.connection.test_tls import serving_tls
from tests.helpers.apps import hello, read_body, reply
from tests.helpers.http2_client import Http2Client, http2_client
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, post
from tests.helpers.ws_client import echo, open_websocket
from trioserve import Config
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

Scene: TypeAlias = Callable[[Site], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Does what the path says."""
    if scope["type"] == "websocket":
        await echo(scope, receive, send)
    elif scope["path"] == "/wait":
        await anyio.sleep_forever()
    elif scope["path"] == "/large":
        await reply(send, b"x" * 500_000)
    elif scope["method"] == "POST":
        await reply(send, await read_body(receive))
    else:
        await hello(scope, receive, send)


def sends(request: bytes) -> Scene:
    """A client that sends this, and reads until the server closes."""

    async def scene(site: Site) -> None:
        await site.everything_after(request)

    return scene


async def reads_nothing(site: Site) -> None:
    client = site.connect()
    await client.send_all(get("/large"))
    await anyio.sleep(60)
    assert client.lost


async def too_many_requests(site: Site) -> None:
    await site.connect().send_all(get("/wait"))
    await settled()
    await site.answer_to(get("/"))


async def too_many_connections(site: Site) -> None:
    client = site.connect()
    await client.send_all(get("/wait"))
    await settled()
    client.abort()
    await settled()


async def large_message(site: Site) -> None:
    client = await open_websocket(site)
    await client.text("x" * 101)
    assert await client.receive_close() == 1009


async def silent_websocket(site: Site) -> None:
    await (await open_websocket(site)).receive_rest()


async def large_body(client: Http2Client) -> None:
    assert (await client.post(b"x" * 101)).status == 413


async def large_body_of_unknown_length(client: Http2Client) -> None:
    stream = await client.ask(method=b"POST", ends=False)
    await client.send(stream, b"x" * 101, ends=True)
    assert (await client.answer(stream)).status == 413


async def many_fields(client: Http2Client) -> None:
    assert (await client.get(fields=[(b"a", b"b")] * 101)).status == 431


async def long_target(client: Http2Client) -> None:
    assert (await client.get("/" + "x" * 200)).status == 414


async def large_head(client: Http2Client) -> None:
    assert (await client.get(fields=[(b"a", b"x" * 1100)])).status == 431


async def reads_nothing_of_http2(client: Http2Client) -> None:
    client.takes_bodies = False
    await client.get("/large")


async def one_stream_too_many(client: Http2Client) -> None:
    await client.listen()
    client.h2.remote_settings[3] = 100  # this client does not care
    client.h2.remote_settings.acknowledge()
    streams = [await client.ask("/wait") for _ in range(2)]
    assert (await client.answer(streams[1])).reset is not None


async def many_resets(client: Http2Client) -> None:
    for _ in range(11):
        await client.reset(await client.ask("/wait"))
    await client.until_end()


async def many_refusals(client: Http2Client) -> None:
    for _ in range(11):
        await client.ask(fields=[(b"upgrade", b"x")])
    await client.until_end()


async def many_pings(client: Http2Client) -> None:
    for _ in range(101):
        client.h2.ping(b"12345678")
    await client.say()
    await client.until_end()


async def idle(client: Http2Client) -> None:
    await client.get()
    await client.until_end()


CHUNKS = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n"

SCENES: list[tuple[str, Scene, dict[str, Any]]] = [
    ("limit_request_line", sends(get("/" + "x" * 200)), {"limit_request_line": 100}),
    ("limit_header_bytes", sends(get("/", "a: " + "x" * 1100)), {"limit_header_bytes": 1024}),
    ("limit_header_count", sends(get("/", *["a: b"] * 101)), {}),
    ("limit_request_body", sends(post(b"x" * 101)), {"limit_request_body": 100}),
    ("limit_request_body", sends(CHUNKS), {"limit_request_body": 100}),
    ("limit_concurrency", too_many_requests, {"limit_concurrency": 1}),
    ("limit_connections", too_many_connections, {"limit_connections": 1}),
    ("timeout_header", sends(b""), {"timeout_header": 5}),
    ("timeout_header", sends(b"GET / HT"), {"timeout_header": 5}),
    ("timeout_header", sends(b"PRI"), {"timeout_header": 5, "http2": True}),
    ("timeout_keep_alive", sends(get()), {"timeout_keep_alive": 5}),
    ("timeout_body", sends(post(b"x", length=9)), {"timeout_body": 5}),
    ("timeout_write", reads_nothing, {"timeout_write": 5}),
    ("timeout_request", sends(get("/wait")), {"timeout_request": 5}),
    ("ws_max_size", large_message, {"ws_max_size": 100}),
    ("ws_ping_timeout", silent_websocket, {"ws_ping_interval": 20, "ws_ping_timeout": 5}),
    ("ws_max_age", silent_websocket, {"ws_max_age": 5}),
]
HTTP2_SCENES: list[tuple[str, Callable[[Http2Client], Awaitable[None]], dict[str, Any]]] = [
    ("limit_request_line", long_target, {"limit_request_line": 100}),
    ("limit_header_bytes", large_head, {"limit_header_bytes": 1024}),
    ("limit_header_count", many_fields, {}),
    ("limit_request_body", large_body, {"limit_request_body": 100}),
    ("limit_request_body", large_body_of_unknown_length, {"limit_request_body": 100}),
    ("limit_http2_streams", one_stream_too_many, {"limit_http2_streams": 1}),
    ("limit_http2_resets", many_resets, {"limit_http2_resets": 10}),
    ("limit_http2_resets", many_refusals, {"limit_http2_resets": 10}),
    ("limit_http2_control_frames", many_pings, {"limit_http2_control_frames": 100}),
    ("timeout_http2_idle", idle, {"timeout_http2_idle": 5}),
    ("timeout_write", reads_nothing_of_http2, {"timeout_write": 5}),
]


@pytest.mark.parametrize(("option", "scene", "options"), SCENES)
async def test_what_strikes_is_counted(option: str, scene: Scene, options: dict[str, Any]) -> None:
    async with serving(app, **options) as site:
        await scene(site)
    assert site.lifetime.strikes == {option: 1}


@pytest.mark.parametrize(("option", "scene", "options"), HTTP2_SCENES)
async def test_what_strikes_over_http2_is_counted(
    option: str, scene: Callable[[Http2Client], Awaitable[None]], options: dict[str, Any]
) -> None:
    async with serving(app, http2=True, **options) as site, http2_client(site) as client:
        await scene(client)
    assert site.lifetime.strikes == {option: 1}


async def test_a_handshake_that_does_not_end_is_counted() -> None:
    async with serving_tls(app, timeout_tls_handshake=7) as site:
        await site.connect().receive_rest()
    assert site.lifetime.strikes == {"timeout_tls_handshake": 1}


async def test_what_strikes_nobody_is_not_counted() -> None:
    async with serving(app) as site:
        await site.everything_after(b"no request\r\n\r\n")
        await site.answer_to(get("/"))
    assert not site.lifetime.strikes


def test_each_name_is_an_option() -> None:
    names = {field.name for field in fields(Config)}
    assert {option for option, _, _ in (*SCENES, *HTTP2_SCENES)} <= names
