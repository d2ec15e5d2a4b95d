"""Applications of all three interfaces, recognised or announced, behind the same server."""

import functools
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok
from tests.helpers.ws_client import handshake
from trioserve import AppNotFound, serve
from trioserve._server.application.interface import interface_of
from trioserve._types import Receive, Scope, Send


class Double:
    """ASGI 2 as a class, the usual way."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, receive: Receive, send: Send) -> None:
        await reply(send, self.scope["path"].encode())


def double(scope: Scope) -> Any:
    return functools.partial(hello, scope)


def conn(conn: Scope) -> Any:
    return double(conn)


class Triple:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)


class Wsgi:
    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(environ["PATH_INFO"])))])
        return [environ["PATH_INFO"].encode()]


def returns_awaitable(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    return hello(scope, receive, send)


@pytest.mark.parametrize(("app", "interface"), [
    (hello, "asgi3"), (Triple(), "asgi3"), (returns_awaitable, "asgi3"), (functools.partial(hello), "asgi3"),
    (lambda *args: hello(*args), "asgi3"),
    (Double, "asgi2"), (double, "asgi2"), (functools.partial(double), "asgi2"),
    (Wsgi(), "wsgi"), (Wsgi().__call__, "wsgi"), (lambda env, start: [], "wsgi"),
    (conn, None), (Triple, None), (lambda a=1: None, None), (lambda a, b=1: None, None),
])
def test_what_a_signature_shows(app: Any, interface: str | None) -> None:
    assert interface_of(app) == interface


@pytest.mark.parametrize(("app", "interface"), [
    (hello, "auto"), (hello, "asgi3"), (Double, "auto"), (Double, "asgi2"), (double, "auto"), (conn, "asgi2"),
    (Triple(), "auto"), (returns_awaitable, "auto"),
])
async def test_asgi_of_both_kinds_is_served(app: Any, interface: str) -> None:
    async with serving(app, interface=interface) as site:
        for path in ("/a", "/b"):
            assert await site.answer_to(get(path)) == ok(path.encode())


@pytest.mark.real_clock
@pytest.mark.parametrize(("app", "interface"), [(Wsgi(), "auto"), (Wsgi(), "wsgi"), (Wsgi().__call__, "auto")])
async def test_wsgi_is_served(app: Any, interface: str) -> None:
    async with serving(app, interface=interface) as site:
        assert await site.answer_to(get("/a")) == ok(b"/a")


async def test_a_double_callable_with_a_lifespan() -> None:
    events: list[str] = []

    def app(scope: Scope) -> Any:
        async def instance(receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                return await reply(send, scope["state"]["name"])
            scope["state"]["name"] = b"of the lifespan"
            for kind in ("startup", "shutdown"):
                events.append((await receive())["type"])
                await send({"type": f"lifespan.{kind}.complete"})

        return instance

    async with serving(app, lifespan="on") as site:
        assert await site.answer_to(get()) == ok(b"of the lifespan")
    assert events == ["lifespan.startup", "lifespan.shutdown"]


async def version_of(app: Any, request: bytes) -> dict[str, str]:
    async with serving(app) as site:
        await site.everything_after(request)
    version: dict[str, str] = app.seen.pop()
    return version


class Noting:
    """Notes what the scope says of ASGI; refuses by returning."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []


class NotingDouble(Noting):
    def __call__(self, scope: Scope) -> Any:
        self.seen.append(scope["asgi"])
        return functools.partial(hello if scope["type"] == "http" else nothing, scope)


class NotingTriple(Noting):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope["asgi"])
        await (hello if scope["type"] == "http" else nothing)(scope, receive, send)


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


@pytest.mark.parametrize("request_", [get("/", "connection: close"), handshake()])
async def test_a_scope_says_which_asgi_is_spoken(request_: bytes) -> None:
    assert await version_of(NotingDouble(), request_) == {"version": "2.0", "spec_version": "2.5"}
    assert await version_of(NotingTriple(), request_) == {"version": "3.0", "spec_version": "2.5"}


async def test_so_does_the_scope_of_the_lifespan() -> None:
    app = NotingDouble()
    async with serving(app, lifespan="auto"):
        pass
    assert app.seen == [{"version": "2.0", "spec_version": "2.0"}]


@pytest.mark.parametrize(("value", "advice"), [
    ("main:app", "'main:app' is not an application: it cannot be called; give the application itself, "
                 "or the name to trioserve.run"),
    (None, "None is not an application: it cannot be called"),
])
async def test_what_cannot_be_called_is_refused_before_anything_is_bound(value: Any, advice: str) -> None:
    with pytest.raises(AppNotFound) as caught:
        await serve(value, port=0)
    assert str(caught.value) == advice
