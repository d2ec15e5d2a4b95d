"""An application that breaks: what the client gets, what the log says, and that the next request is served."""

import logging
import math
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.broken_apps import BrokenApp, assert_lives, beside_hello
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, looks_whole, ok, receive_response, status_of
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import settled

# -- exceptions ------------------------------------------------------------------------------------------------------


async def raise_at_once(receive: Receive, send: Send) -> None:
    raise ValueError("at once")


async def raise_after_start(receive: Receive, send: Send) -> None:
    await start(send)
    raise ValueError("after start")


async def raise_after_start_and_a_pause(receive: Receive, send: Send) -> None:
    await start(send)
    await anyio.sleep(1)
    raise ValueError("after start and a pause")


async def raise_in_a_child(receive: Receive, send: Send) -> None:
    async with anyio.create_task_group() as children:
        children.start_soon(raise_at_once, receive, send)
        children.start_soon(anyio.sleep_forever)


async def raise_system_exit(receive: Receive, send: Send) -> None:
    raise SystemExit(1)


async def raise_bare_base_exception(receive: Receive, send: Send) -> None:
    await read_body(receive)
    raise SystemExit("after reading")


class Unusual(BaseException):
    """Not an Exception, and none of those that Python knows."""


async def raise_unusual(receive: Receive, send: Send) -> None:
    raise Unusual


async def raise_a_group_with_system_exit(receive: Receive, send: Send) -> None:
    await anyio.lowlevel.checkpoint()
    raise BaseExceptionGroup("of a nursery", [SystemExit(1), ValueError("another child")])


async def raise_generator_exit(receive: Receive, send: Send) -> None:
    raise GeneratorExit


async def raise_generator_exit_after_a_pause(receive: Receive, send: Send) -> None:
    await anyio.sleep(1)
    raise GeneratorExit


async def raise_a_group_with_generator_exit(receive: Receive, send: Send) -> None:
    raise BaseExceptionGroup("of a nursery", [GeneratorExit(), ValueError("another child")])


async def raise_memory_error(receive: Receive, send: Send) -> None:
    raise MemoryError


async def recurse(receive: Receive, send: Send) -> None:
    await recurse(receive, send)


@pytest.mark.parametrize("broken", [
    raise_at_once, raise_after_start, raise_after_start_and_a_pause, raise_in_a_child, raise_system_exit,
    raise_bare_base_exception, raise_unusual, raise_a_group_with_system_exit, raise_generator_exit,
    raise_generator_exit_after_a_pause, raise_a_group_with_generator_exit, raise_memory_error, recurse])
async def test_an_exception_before_the_body_is_a_500(broken: BrokenApp, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(beside_hello(broken)) as site:
        assert status_of(await site.everything_after(get("/broken?a=b"))) == 500
        await assert_lives(site)
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "GET /broken?a=b" in record.getMessage()
    assert record.exc_info


async def raise_after_a_part(receive: Receive, send: Send) -> None:
    await start(send, headers=[(b"content-length", b"100")])
    await part(send, b"some")
    await anyio.lowlevel.checkpoint()
    raise ValueError("after a part")


async def raise_after_a_chunk(receive: Receive, send: Send) -> None:
    await start(send)
    await part(send, b"some")
    await anyio.lowlevel.checkpoint()
    raise ValueError("after a chunk")


async def return_after_a_chunk(receive: Receive, send: Send) -> None:
    await start(send)
    await part(send, b"some")


@pytest.mark.parametrize("broken", [raise_after_a_part, raise_after_a_chunk, return_after_a_chunk])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_response_cut_short_cannot_be_taken_for_a_whole_one(broken: BrokenApp, version: str) -> None:
    async with serving(beside_hello(broken)) as site:  # RFC 9112 §8
        client = site.connect()
        await client.send_all(get("/broken", version=version))
        received = await client.receive_rest()
        assert not looks_whole(received, client)
        await assert_lives(site)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"some" in received


async def raise_before_the_last_message(receive: Receive, send: Send) -> None:
    await start(send, headers=[(b"content-length", b"8")])
    await part(send, b"some")
    await part(send, b"more")
    raise ValueError("before the last message")


async def return_before_the_last_message(receive: Receive, send: Send) -> None:
    await start(send, headers=[(b"content-length", b"8")])
    await part(send, b"some")
    await anyio.lowlevel.checkpoint()
    await part(send, b"more")


@pytest.mark.parametrize("broken", [raise_before_the_last_message, return_before_the_last_message])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_who_has_got_all_that_was_declared_keeps_it(
    broken: BrokenApp, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(beside_hello(broken)) as site:
        client = site.connect()
        await client.send_all(get("/broken", method=method))
        received = await client.receive_rest()
        assert not client.lost  # a close, not a reset
        await assert_lives(site)
    assert received.endswith(b"content-length: 8\r\n\r\n" + (b"somemore" if method == "GET" else b""))
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 205), ("GET", 304)])
async def test_a_response_without_a_body_lacks_nothing_without_its_trailers(method: str, status: int) -> None:
    async def broken(receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "trailers": True})
        await send({"type": "http.response.body"})

    async with serving(beside_hello(broken)) as site:
        client = site.connect()
        await client.send_all(get("/broken", method=method))
        received = await client.receive_rest()
        assert not client.lost  # a close, not a reset
        await assert_lives(site)
    assert status_of(received) == status


async def test_an_exception_after_the_response_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(receive: Receive, send: Send) -> None:
        await reply(send, b"done")
        raise ValueError("in background work")

    async with serving(beside_hello(broken)) as site:
        client = site.connect()
        await client.send_all(get("/broken"))
        assert await receive_response(client) == ok(b"done")
        await client.send_all(get("/same-connection"))
        assert await receive_response(client) == ok(b"/same-connection")
    assert len(caplog.records) == 1


@pytest.mark.parametrize("after_start", [False, True])
async def test_an_application_that_returns_without_a_response(
    after_start: bool, caplog: pytest.LogCaptureFixture
) -> None:  # ASGI HTTP, "Response Start"
    async def broken(receive: Receive, send: Send) -> None:
        if after_start:
            await start(send)

    async with serving(beside_hello(broken)) as site:
        assert status_of(await site.everything_after(get("/broken"))) == 500
        await assert_lives(site)
    assert "without a response" in caplog.text
    assert "--no-sendfile" in caplog.text


async def test_middleware_that_does_not_know_pathsend_works_without_it(tmp_path: Path) -> None:
    """As ``FileResponse`` chooses the message by what is offered."""
    (file := tmp_path / "file").write_bytes(b"hello")

    async def answer(receive: Receive, send: Send) -> None:
        await start(send)
        if "http.response.pathsend" in offered:
            await send({"type": "http.response.pathsend", "path": str(file)})
        else:
            await send({"type": "http.response.body", "body": file.read_bytes()})

    offered: set[str] = set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def forwards_what_it_knows(message: Message) -> None:
            if message["type"] in ("http.response.start", "http.response.body"):
                await send(message)

        offered.update(scope["extensions"])
        await answer(receive, forwards_what_it_knows)

    async with serving(app, sendfile=False) as site:
        assert (await site.everything_after(get("/", "Connection: close"))).endswith(b"hello")


async def test_an_application_that_returns_when_the_client_left_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(receive: Receive, send: Send) -> None:
        await read_body(receive)
        await receive()

    async with serving(beside_hello(broken)) as site:
        client = site.connect()
        await client.send_all(get("/broken"))
        await settled()
        client.abort()
        await settled()
        assert site.connections == 0
    assert not caplog.records


@pytest.mark.parametrize("in_a_group", [False, True], ids=["alone", "in a group"])
async def test_a_bug_in_the_clean_up_is_logged_when_the_client_left(
    in_a_group: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As it is when the application is cancelled: sending raises ClientDisconnected, which is no bug's cause."""

    async def send_for_ever(send: Send) -> None:
        try:
            while True:
                await part(send, b"part", more=True)
                await anyio.sleep(1)
        finally:
            raise KeyError("bug")

    async def broken(receive: Receive, send: Send) -> None:
        await start(send)
        if not in_a_group:
            await send_for_ever(send)
        async with anyio.create_task_group() as children:
            children.start_soon(send_for_ever, send)

    async with serving(beside_hello(broken), on_disconnect="notify") as site:
        client = site.connect()
        await client.send_all(get("/broken"))
        await settled()
        client.abort()
        await anyio.sleep(2)
        assert site.connections == 0
        await assert_lives(site)
    (record,) = caplog.records
    assert record.getMessage() == "Exception in the application, serving GET /broken"
    assert record.exc_info is not None
    error = record.exc_info[1]
    assert isinstance(error.exceptions[0] if isinstance(error, ExceptionGroup) else error, KeyError)


# -- nonsense --------------------------------------------------------------------------------------------------------

BODY = "http.response.body"
START = {"type": "http.response.start", "status": 200}
NONSENSE: list[Any] = [
    pytest.param([None], id="no message"),
    pytest.param([{}], id="no type"),
    pytest.param([{"type": "http.nonsense"}], id="unknown type"),
    pytest.param([{"type": BODY}], id="body before start"),
    pytest.param([START, START], id="two starts"),
    pytest.param([{"type": START["type"], "status": "200"}], id="status is text"),
    pytest.param([{"type": START["type"], "status": 100}], id="interim status"),
    pytest.param([START | {"headers": [(b"a", b"b\r\nc: d")]}], id="response splitting"),
    pytest.param([START | {"headers": [("a", "b")]}], id="headers are text"),
    pytest.param([START, {"type": BODY, "body": "text"}], id="body is text"),
    pytest.param([START | {"headers": [(b"content-length", b"1")]}, {"type": BODY, "body": b"ab"}], id="too long"),
    pytest.param([START | {"headers": [(b"content-length", b"9")]}, {"type": BODY, "body": b"ab"}], id="too short"),
]


@pytest.mark.parametrize("messages", NONSENSE)
async def test_nonsense_raises_out_of_send_and_is_a_500(
    messages: list[Any], caplog: pytest.LogCaptureFixture
) -> None:  # ASGI core, "Error Handling"
    raised: list[Exception] = []

    async def broken(receive: Receive, send: Send) -> None:
        try:
            for message in messages:
                await send(message)
        except Exception as exc:
            raised.append(exc)
            raise

    async with serving(beside_hello(broken)) as site:
        assert status_of(await site.everything_after(get("/broken"))) == 500
        await assert_lives(site)
    assert len(raised) == 1
    assert len(caplog.records) == 1


async def test_an_application_may_recover_from_its_own_nonsense() -> None:
    async def broken(receive: Receive, send: Send) -> None:
        with pytest.raises(RuntimeError):
            await send({"type": "http.nonsense"})
        await reply(send, b"recovered")

    async with serving(beside_hello(broken)) as site:
        assert await site.answer_to(get("/broken")) == ok(b"recovered")


async def test_keys_that_nobody_knows_are_ignored() -> None:  # ASGI core, "Extensions"
    async def broken(receive: Receive, send: Send) -> None:
        await send({**START, "unknown": 1})
        await send({"type": BODY, "body": b"fine", "unknown": 2})

    async with serving(beside_hello(broken)) as site:
        assert await site.answer_to(get("/broken")) == ok(b"fine")


def not_async(scope: Scope, receive: Receive, send: Send) -> None:
    """What a beginner writes, or a WSGI application is."""


async def test_an_application_that_is_no_coroutine_function(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(not_async) as site:  # type: ignore[arg-type]  # the mistake
        assert status_of(await site.everything_after(get())) == 500
        assert status_of(await site.everything_after(get())) == 500
    assert len(caplog.records) == 2
    assert "the call of the application returned None, which cannot be awaited: write it as an async" in caplog.text


@pytest.mark.trio
@pytest.mark.parametrize("waits_first", [False, True])
@pytest.mark.parametrize("deadline", [math.inf, 1.0])
async def test_a_cancel_scope_that_is_left_open_ends_one_connection(
    waits_first: bool, deadline: float, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Trio finds out when the nursery of the connection ends, where no application is to be seen any more."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/leaves":
            if waits_first:
                await trio.sleep(1)
            trio.CancelScope(deadline=trio.current_time() + deadline).__enter__()
        await hello(scope, receive, send)

    async with serving(app) as site:
        beside = site.connect()
        client = site.connect()
        await client.send_all(get("/leaves"))
        assert await receive_response(client) == ok(b"/leaves")
        if deadline < math.inf:
            assert await client.receive_rest() == b""
        await client.aclose()
        await settled()
        assert site.connections == 1
        await beside.send_all(get("/alive"))
        assert await receive_response(beside) == ok(b"/alive")
        await beside.aclose()
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "may have left a cancel scope open" in record.getMessage()
    assert record.exc_info is not None
    assert "Cancel scope stack corrupted" in str(record.exc_info[1])
