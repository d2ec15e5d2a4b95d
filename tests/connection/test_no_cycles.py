"""What a request leaves behind goes at once: a cycle would be the garbage collector's, which costs every request."""

import gc
from collections.abc import Iterator
from typing import Any, Final

import anyio
import pytest

from tests.helpers.apps import hello, part, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, post, receive_response
from trioserve._connection import Connection
from trioserve._connection.exchange import Exchange
from trioserve._connection.farewell import Farewell
from trioserve._connection.http1 import Http1Connection
from trioserve._connection.http2.body import Http2Inlet
from trioserve._connection.http2.connection import Http2Connection
from trioserve._connection.http2.goodbye import Goodbye
from trioserve._connection.http2.reception import Reception
from trioserve._connection.http2.sender import Sender
from trioserve._connection.http2.stream import Http2Stream
from trioserve._connection.parts import Parts
from trioserve._connection.patience import Patience
from trioserve._connection.request import Request
from trioserve._connection.request_body import Http1Inlet, WholeBody
from trioserve._connection.supervision import Supervision
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import settled


@pytest.fixture
def no_collector(little_to_collect: None) -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def take_body(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await reply(send)


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    for _ in range(3):
        await part(send, b"tick")
        await part(send, b"tick")
        await anyio.sleep(1)
    await part(send, b"", more=False)


async def go_on(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send)
    await anyio.sleep(1)


async def do_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


OF_A_REQUEST: Final = (Exchange, Http1Inlet, Http2Inlet, Http2Stream, Parts, Request, Supervision, WholeBody)
OF_A_CONNECTION: Final = (
    Connection, Farewell, Goodbye, Http1Connection, Http2Connection, Patience, Reception, Sender,
)


def alive(*kinds: type) -> list[Any]:
    return [thing for thing in gc.get_objects() if type(thing) in kinds]


@pytest.mark.parametrize("options", [{}, {"timeout_request": 10}, {"on_disconnect": "cancel"}], ids=str)
@pytest.mark.parametrize(("app", "request_pieces"), [
    (hello, [get()]),
    (take_body, [post(b"body")]),
    (take_body, [post(b"", length=6), b"abc", b"def"]),
    (hello, [post(b"", length=6), b"abcdef"]),
    (hello, [post(b"abcdef")]),
    (stream, [get()]),
    (go_on, [get()]),
], ids=["get", "post", "post in pieces", "unread body", "unread whole body", "stream", "work after the response"])
@pytest.mark.usefixtures("no_collector")
async def test_nothing_is_left_of_a_request(app: App, request_pieces: list[bytes], options: dict[str, Any]) -> None:
    async with serving(app, **options) as site:
        client = site.connect()
        for piece in request_pieces:
            await client.send_all(piece)
            await settled()
        await receive_response(client)
        await anyio.sleep(2)
        assert site.connections == 1
        assert not alive(*OF_A_REQUEST)
        await client.aclose()


@pytest.mark.parametrize("app", [hello, take_body, stream, go_on, do_nothing])
@pytest.mark.parametrize("sent", [get(), get("/", "connection: close"), post(b"half", length=8), b"bad\r\n\r\n", b""],
                         ids=["get", "close", "half a body", "refused", "nothing"])
@pytest.mark.usefixtures("no_collector")
async def test_nothing_is_left_of_a_connection(app: App, sent: bytes) -> None:
    async with serving(app) as site:
        client = site.connect()
        await client.send_all(sent)
        await settled()
        await client.aclose()
        await anyio.sleep(5)
        assert site.connections == 0
        assert not alive(*OF_A_CONNECTION, *OF_A_REQUEST)


@pytest.mark.parametrize("engine", ["ngh2", "h2"])
@pytest.mark.parametrize("options", [{}, {"timeout_request": 10}, {"on_disconnect": "cancel"}], ids=str)
@pytest.mark.parametrize("app", [hello, take_body, stream, go_on, do_nothing])
@pytest.mark.parametrize("body", [b"", b"abc"])
@pytest.mark.usefixtures("no_collector")
async def test_nothing_is_left_of_a_stream(app: App, body: bytes, options: dict[str, Any], engine: str) -> None:
    async with serving(app, http2=True, http2_engine=engine, **options) as site, http2_client(site) as client:
        await (client.post(body) if body else client.get())
        await anyio.sleep(5)
        assert site.connections == 1
        assert not alive(*OF_A_REQUEST)


# -- HTTP/2 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", [hello, take_body, stream, go_on, do_nothing])
@pytest.mark.usefixtures("no_collector")
async def test_nothing_is_left_of_a_request_that_was_reset(app: App, http2_options: dict[str, Any]) -> None:
    async with serving(app, **http2_options) as site, http2_client(site) as client:
        for ends in (False, True):
            await client.reset(await client.ask(method=b"POST", ends=ends))
        await anyio.sleep(5)
        assert not alive(*OF_A_REQUEST)


@pytest.mark.parametrize("app", [hello, stream, go_on])
@pytest.mark.usefixtures("no_collector")
async def test_nothing_is_left_of_a_connection_of_http2(app: App, http2_options: dict[str, Any]) -> None:
    async with serving(app, **http2_options) as site:
        async with http2_client(site) as client:
            await client.get()
            await client.ask()
            await client.ask(method=b"POST", ends=False)
            await settled()
        await anyio.sleep(5)
        assert site.connections == 0
        assert not alive(*OF_A_CONNECTION, *OF_A_REQUEST)
