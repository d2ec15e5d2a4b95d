"""What a request leaves behind goes at once: a cycle would be the garbage collector's, which costs every request."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, post, receive_response
from tests.helpers.virtual_clock import settled
from trioserve._connection import BodyReceiver, Exchange, Http1Connection, Supervision
from trioserve._types import App, Receive, Scope, Send


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def take_body(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await reply(send)


async def do_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


def alive(*kinds: type) -> list[Any]:
    return [thing for thing in gc.get_objects() if type(thing) in kinds]


@pytest.mark.parametrize("options", [{}, {"timeout_request": 10}, {"on_disconnect": "cancel"}], ids=str)
@pytest.mark.parametrize(("app", "request_pieces"), [
    (hello, [get()]),
    (take_body, [post(b"body")]),
    (take_body, [post(b"", length=6), b"abc", b"def"]),
    (hello, [post(b"", length=6), b"abcdef"]),
], ids=["get", "post", "post in pieces", "unread body"])
@pytest.mark.usefixtures("no_collector")
async def test_nothing_is_left_of_a_request(app: App, request_pieces: list[bytes], options: dict[str, Any]) -> None:
    async with serving(app, **options) as site:
        client = site.connect()
        for piece in request_pieces:
            await client.send_all(piece)
            await settled()
        await receive_response(client)
        await settled()
        assert site.connections == 1
        assert not alive(Exchange, BodyReceiver, Supervision)
        await client.aclose()


@pytest.mark.parametrize("app", [hello, take_body, do_nothing])
@pytest.mark.parametrize("sent", [get(), get("/", "connection: close"), post(b"half", length=8), b"bad\r\n\r\n", b""],
                         ids=["get", "close", "half a body", "refused", "nothing"])
@pytest.mark.usefixtures("no_collector")
async def test_nothing_is_left_of_a_connection(app: App, sent: bytes) -> None:
    async with serving(app) as site:
        client = site.connect()
        await client.send_all(sent)
        await settled()
        await client.aclose()
        await settled()
        assert site.connections == 0
        assert not alive(Http1Connection, Exchange, BodyReceiver)
