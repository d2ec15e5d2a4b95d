"""The same request again and again, on one connection and on many: each is a request of its own."""

from typing import Any

import pytest

from tests.helpers.apps import read_body, reply
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post, receive_response, status_of
from trioserve._types import Receive, Scope, Send


class Vandal:
    """Answers with the request's body, notes what its scope says, and leaves nothing of the scope whole."""

    def __init__(self) -> None:
        self.headers: list[Any] = []
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers.append(list(scope["headers"]))
        self.paths.append(scope["path"])
        scope["headers"].append((b"spoilt", b"1"))
        scope["headers"][0] = (b"host", b"spoilt")
        scope["asgi"].clear()
        scope["path"] = "/spoilt"
        await reply(send, await read_body(receive))


async def test_on_many_connections() -> None:
    app = Vandal()
    async with serving(app) as site:
        for _ in range(4):
            assert await site.answer_to(get("/a", "x-a: b")) == ok(b"")
    assert app.headers == [[(b"host", b"a"), (b"x-a", b"b")]] * 4
    assert app.paths == ["/a"] * 4


async def test_on_one_connection_and_pipelined() -> None:
    app = Vandal()
    async with serving(app) as site:
        for _ in range(2):
            client = site.connect()
            await client.send_all(post(b"one") + post(b"two") * 3 + get("/a", "x-a: b") * 3)
            answers = [await receive_response(client) for _ in range(7)]
            assert answers == [ok(b"one"), *[ok(b"two")] * 3, *[ok(b"")] * 3]
    posted, got = [(b"host", b"a"), (b"content-length", b"3")], [(b"host", b"a"), (b"x-a", b"b")]
    assert app.headers == ([posted] * 4 + [got] * 3) * 2


async def test_byte_by_byte() -> None:
    app = Vandal()
    async with serving(app) as site:
        await site.answer_to(post(b"body"))
        client = site.connect()
        for byte in post(b"body") * 2:
            await client.send_all(bytes([byte]))
        assert [await receive_response(client) for _ in range(2)] == [ok(b"body")] * 2
    assert app.headers == [[(b"host", b"a"), (b"content-length", b"4")]] * 3


@pytest.mark.parametrize("cookie", ["a=1", "a=2"])
async def test_two_clients_with_cookies(cookie: str) -> None:
    app = Vandal()
    async with serving(app) as site:
        for _ in range(2):
            await site.answer_to(get("/", "cookie: other=1"))
            await site.answer_to(get("/", f"cookie: {cookie}"))
    expected = [[(b"host", b"a"), (b"cookie", b"other=1")], [(b"host", b"a"), (b"cookie", cookie.encode())]]
    assert app.headers == expected * 2


async def test_limits_hold_for_each() -> None:
    async with serving(Vandal(), limit_request_body=10) as site:
        for _ in range(3):
            assert status_of(await site.answer_to(post(b"12345678901"))) == 413
            assert status_of(await site.answer_to(post(b"1234567890"))) == 200
