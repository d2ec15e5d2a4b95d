"""Body parts in a row, which become one chunk: a client reads the same as if each had been encoded by itself."""

import logging
from collections import UserDict
from functools import partial
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.apps import part, start
from tests.helpers.response_reading import Answer, answer, body, head_of, read_response, trailers
from tests.helpers.response_reading import start as start_message
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, receive_response
from tests.helpers.work_clock import WorkClock
from trioserve._asgi import State
from trioserve._errors import AppError, ClientDisconnected
from trioserve._types import Message, Receive, Scope, Send
from trioserve.testing import virtual_backend

pytestmark = pytest.mark.usefixtures("work_clock")

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
KIB = 1024
MEBIBYTE = 1024 * KIB


class Script:
    """An application that sends ``messages``, and notes which of them is refused.

    It waits before some of them, and computes for a while before others.
    """

    def __init__(
        self, messages: list[Any], *, waits_before: frozenset[int] = frozenset(),
        computes_before: frozenset[int] = frozenset(), clock: WorkClock | None = None, child: bool = False,
    ) -> None:  # fmt: skip
        self.messages = messages
        self.waits_before = waits_before
        self.computes_before = computes_before
        self.clock = clock
        self.child = child
        self.refused: list[tuple[int, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.child:
            return await self.play(send)
        async with anyio.create_task_group() as children:
            children.start_soon(self.play, send)

    async def play(self, send: Send) -> None:
        for index, message in enumerate(self.messages):
            if index in self.waits_before:
                await anyio.lowlevel.checkpoint()
            if self.clock is not None and index in self.computes_before:
                self.clock.compute(0.002)
            try:
                await send(message)
            except AppError as error:
                self.refused.append((index, str(error)))


async def wire_of(app: Script, request: bytes) -> bytes:
    """All that a client receives from ``app`` until the connection ends."""
    logging.getLogger("trioserve").setLevel(logging.CRITICAL)  # an incomplete response is told of
    async with serving(app, capacity=10 * MEBIBYTE) as site:
        client = site.connect()
        await client.send_all(request)
        client.send_eof()
        return await client.receive_rest()


def one_by_one(messages: list[Any], head: Any) -> tuple[Answer, list[tuple[int, str]]]:
    """What the messages make when each is encoded by itself."""
    made = answer(head=head)
    made.response._standing_fields = lambda response: b"\r\n"
    refused = []
    for index, message in enumerate(messages):
        try:
            made.send(message)
        except AppError as error:
            refused.append((index, str(error)))
    return made, refused


sizes = st.one_of(st.just(0), st.integers(1, 300), st.integers(0, 200 * KIB))


@settings(max_examples=150)
@given(
    backend=st.sampled_from(["trio", "asyncio"]),
    parts=st.lists(sizes, max_size=30),
    declared=st.sampled_from([None, None, "right", "right", 1, -1, 500, -500]),
    method=st.sampled_from(["GET", "GET", "HEAD"]),
    version=st.sampled_from(["1.1", "1.1", "1.0"]),
    ends=st.sampled_from(["with a part", "with nothing", "never"]),
    has_trailers=st.booleans(),
    child=st.booleans(),
    data=st.data(),
)
def test_the_same_is_read_as_if_each_part_was_encoded_by_itself(
    backend: str, parts: list[int], declared: Any, method: str, version: str, ends: str, has_trailers: bool,
    child: bool, data: st.DataObject,
) -> None:  # fmt: skip
    random = Random(len(parts))
    contents = [random.randbytes(size) for size in parts]
    length = sum(parts) + (declared if isinstance(declared, int) else 0)
    headers = [(b"content-length", b"%d" % length)] if declared is not None and length >= 0 else []
    messages = [start_message(headers=headers, trailers=has_trailers), *(body(each, more=True) for each in contents)]
    if ends == "with a part" and contents:
        messages[-1]["more_body"] = False
    elif ends != "never":
        messages.append(body())
    if has_trailers:
        messages.append(trailers([(b"x", b"y")]))
    some = st.frozensets(st.integers(0, len(messages)), max_size=3)
    expected, refused = one_by_one(messages, head_of(b"Connection: close", method=method, version=version))

    name, options = virtual_backend(backend)
    request = get("/", "connection: close", method=method, version=version)
    with pytest.MonkeyPatch.context() as patch:
        app = Script(messages, waits_before=data.draw(some), computes_before=data.draw(some), clock=WorkClock(patch),
                     child=child)
        wire = anyio.run(wire_of, app, request, backend=name, backend_options=options)

    assert app.refused == refused
    if expected.response.state == State.COMPLETE:
        assert read_response(wire, method) == read_response(expected.wire, method)
    else:
        assert dechunked(wire) == dechunked(expected.wire) or not expected.wire


def dechunked(wire: bytes) -> bytes:
    """Head and content of a response that may have been cut short between two chunks."""
    head, _, rest = wire.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return wire
    content = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        assert int(size, 16) > 0, "the last chunk came"
        content += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return head + content


# -- what is in a row --------------------------------------------------------------------------------------------------


async def wire_until_end(messages: list[Any]) -> tuple[Script, bytes]:
    app = Script([start_message(), body(b"a", more=True), body(b"b", more=True), *messages, body(b"z")])
    async with serving(app) as site:
        return app, await site.answer_to(get())


@pytest.mark.parametrize(
    ("messages", "chunks"),
    [
        pytest.param([body(b"c", more=True)], b"2\r\nbc\r\n1\r\nz\r\n", id="usual"),
        pytest.param([body(b"", more=True)] * 3, b"1\r\nb\r\n1\r\nz\r\n", id="empty"),
        pytest.param([body(bytearray(b"c"), more=True)], b"1\r\nb\r\n1\r\nc\r\n1\r\nz\r\n", id="bytearray"),
        pytest.param([body(memoryview(b"c"), more=True)], b"1\r\nb\r\n1\r\nc\r\n1\r\nz\r\n", id="memoryview"),
        pytest.param([{"type": "http.response.body", "more_body": True}], b"1\r\nb\r\n1\r\nz\r\n", id="no body"),
        pytest.param([UserDict(body(b"c", more=True))], b"2\r\nbc\r\n1\r\nz\r\n", id="any mapping"),
        pytest.param([body(b"c", more=1)], b"2\r\nbc\r\n1\r\nz\r\n", id="true enough"),
        pytest.param([body(b"c", more=True, other=1)], b"2\r\nbc\r\n1\r\nz\r\n", id="more keys"),
    ],
)
async def test_less_usual_parts_are_parts(messages: list[Message], chunks: bytes) -> None:
    app, wire = await wire_until_end(messages)
    assert wire == CHUNKED + b"1\r\na\r\n" + chunks + b"0\r\n\r\n"
    assert app.refused == []


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(None, id="None"),
        pytest.param([], id="list"),
        pytest.param("http.response.body", id="str"),
        pytest.param({}, id="no type"),
        pytest.param({"body": b"x", "more_body": True}, id="body without a type"),
        pytest.param(body("x", more=True), id="str body"),
        pytest.param(body(None, more=True), id="no bytes"),
        pytest.param(body(7, more=True), id="int body"),
        pytest.param(start_message(), id="start again"),
        pytest.param({**body(b"x", more=True), "type": "http.response.trailers"}, id="trailers with a body"),
        pytest.param({**body(b"x", more=True), "type": "unknown"}, id="unknown type"),
    ],
)
async def test_wrong_messages_are_refused_and_leave_the_rest_alone(wrong: Any) -> None:
    app, wire = await wire_until_end([wrong, body(b"c", more=True)])
    assert wire.startswith(CHUNKED)
    assert dechunked(wire.removesuffix(b"0\r\n\r\n")).endswith(b"abcz")
    assert [index for index, _ in app.refused] == [3]


@pytest.mark.parametrize("size", [0, 1, 2, 3])
async def test_too_much_for_the_content_length_is_refused_where_it_is_sent(size: int) -> None:
    declared = [(b"content-length", b"4")]
    app = Script([start_message(headers=declared), *[body(b"x" * size, more=True)] * 4, body(b"last")])
    async with serving(app) as site:
        wire = await site.everything_after(get())
    expected, refused = one_by_one(app.messages, head_of())
    assert app.refused == refused
    assert wire == expected.wire


async def test_a_large_part_after_small_ones_stays_in_its_place() -> None:
    parts = [b"a" * 10, b"b" * 10, b"c" * 300 * KIB, b"d" * 10, b"", b"e" * 128 * KIB, b"f"]
    app = Script([start_message(), *(body(each, more=True) for each in parts), body()])
    async with serving(app, capacity=MEBIBYTE) as site:
        wire = await site.answer_to(get())
    assert read_response(wire).body == b"".join(parts)


# -- with something in a row, the application ... ----------------------------------------------------------------------


async def begin(send: Send) -> None:
    await start(send)
    for each in (b"a", b"b", b"c"):
        await part(send, each)


async def test_suspends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        await anyio.sleep(3600)
        await part(send, b"", more=False)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        assert await client.receive_some() == CHUNKED + b"1\r\na\r\n"
        assert await client.receive_some() == b"2\r\nbc\r\n"
        assert await client.receive_until(b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_receives() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        assert (await receive())["type"] == "http.request"
        await part(send, b"d")
        await part(send, b"e", more=False)

    async with serving(app) as site:
        wire = await site.answer_to(get())
    assert dechunked(wire.removesuffix(b"0\r\n\r\n")).endswith(b"abcde")


@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
async def test_ends_too_early(raises: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        if raises:
            raise ValueError("its own")

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        wire = await client.receive_rest()
        assert not client.lost  # a reset would destroy what is still on its way
    assert wire == CHUNKED + b"1\r\na\r\n2\r\nbc\r\n"  # without the last chunk, it does not look whole (RFC 9112 §8)
    assert ("its own" if raises else "before its response was complete") in caplog.text


async def test_lets_a_child_go_on() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as children:
            await begin(send)
            children.start_soon(partial(part, send, b"d"))
            await part(send, b"e")
        await part(send, b"f")
        await part(send, b"g", more=False)

    async with serving(app) as site:
        wire = await site.answer_to(get())
    assert dechunked(wire.removesuffix(b"0\r\n\r\n")).endswith(b"abcedfg")


@pytest.mark.parametrize("raises", [False, True], ids=["returned", "raised"])
async def test_has_ended_but_a_task_of_another_nursery_sends_on(raises: bool) -> None:
    outcomes: list[str] = []
    async with anyio.create_task_group() as others:

        async def send_late(send: Send, ended: anyio.Event) -> None:
            await ended.wait()
            try:
                for _ in range(3):
                    await part(send, b"late")
                    await anyio.lowlevel.checkpoint()
            except ClientDisconnected:
                outcomes.append("told")

        ended = anyio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await start(send)
            await part(send, b"a")
            others.start_soon(send_late, send, ended)
            if raises:
                raise ValueError("its own")

        logging.getLogger("trioserve").setLevel(logging.CRITICAL)
        async with serving(app) as site:
            client = site.connect()
            await client.send_all(get())
            await client.receive_rest()
            ended.set()
    assert outcomes == ["told"]


async def test_is_refused_no_request_that_follows() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        await part(send, b"d", more=False)

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get() * 5)
        for _ in range(5):
            assert await receive_response(client) == CHUNKED + b"1\r\na\r\n2\r\nbc\r\n1\r\nd\r\n0\r\n\r\n"
