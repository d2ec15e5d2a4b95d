"""Which context variables a request sees, and who sees those that it sets."""

import contextvars

import anyio
import anyio.lowlevel

from tests.helpers.apps import read_body, reply
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post, receive_response
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

seen_by_all = contextvars.ContextVar[str]("seen_by_all", default="unset")
request_only = contextvars.ContextVar[str]("request_only", default="unset")


async def with_context(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        seen_by_all.set("lifespan")
        await receive()
        await send({"type": "lifespan.startup.complete"})
        seen_by_all.set("too late")
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    before = request_only.get()
    request_only.set(scope["path"])
    await read_body(receive)
    await anyio.sleep(1)
    await reply(send, f"{seen_by_all.get()} {before} {request_only.get()}".encode())
    request_only.set("background")


async def test_requests_see_what_the_lifespan_set_before_startup_complete() -> None:
    async with serving(with_context, lifespan="on") as site:
        assert await site.answer_to(get("/a")) == ok(b"lifespan unset /a")


async def test_what_a_request_sets_is_gone_with_it() -> None:
    async with serving(with_context, lifespan="on") as site:
        client = site.connect()
        for target in (b"/a", b"/b"):
            await client.send_all(get(target.decode()))
            assert await receive_response(client) == ok(b"lifespan unset " + target)


async def test_requests_side_by_side_do_not_see_each_other() -> None:
    async with serving(with_context, lifespan="on") as site:
        one, two = site.connect(), site.connect()
        await one.send_all(post(b"", target="/one", length=1))
        await two.send_all(get("/two"))
        await settled()
        await one.send_all(b"x")
        assert await receive_response(two) == ok(b"lifespan unset /two")
        assert await receive_response(one) == ok(b"lifespan unset /one")


async def test_child_tasks_of_a_request_share_its_context() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def child() -> None:
            await reply(send, request_only.get().encode())

        request_only.set("parent")
        async with anyio.create_task_group() as children:
            children.start_soon(child)

    async with serving(app) as site:
        assert await site.answer_to(get()) == ok(b"parent")


async def test_a_context_variable_can_be_reset_by_its_token() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        token = request_only.set("inner")
        await anyio.sleep(1)
        request_only.reset(token)
        await reply(send, request_only.get().encode())

    async with serving(app) as site:
        assert await site.answer_to(get()) == ok(b"unset")
