"""A broken application beside one that answers, and a look whether the server lives."""

from collections.abc import Awaitable, Callable

from tests.helpers.apps import hello
from tests.helpers.serving import Site
from tests.helpers.transcripts import get, ok
from trioserve._types import App, Receive, Scope, Send

__all__ = ["BrokenApp", "assert_lives", "beside_hello"]

BrokenApp = Callable[[Receive, Send], Awaitable[None]]


def beside_hello(broken: BrokenApp) -> App:
    """An application that is ``broken`` at ``/broken``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (broken(receive, send) if scope["path"] == "/broken" else hello(scope, receive, send))

    return app


async def assert_lives(site: Site) -> None:
    assert await site.answer_to(get("/alive")) == ok(b"/alive")
