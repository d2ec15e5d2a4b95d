"""Recorders: who is told of requests and WebSockets that have ended, alone and beside the access log."""

import logging
from contextvars import ContextVar
from dataclasses import dataclass, field

import anyio
import pytest

from tests.helpers.apps import echo as post_echo
from tests.helpers.apps import hello, reply
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, post
from tests.helpers.ws_client import echo, open_websocket
from trioserve._connection import Answered, ClosedWebSocket, RecordedRequest, Refused, joined
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled


@dataclass
class Notes:
    """A recorder that remembers what it was told."""

    needs_context: bool = False
    told: list[str] = field(default_factory=list)

    def answered(self, answered: Answered, seconds: float) -> None:
        self.told.append(f"{answered.head.target.decode()} {answered.final_status}")

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        self.told.append(f"{websocket.head.target.decode()} closed {websocket.session.close_code}")

    def refused(self, refused: Refused) -> None:
        self.told.append(f"refused {refused.status}")

    def ended_early(self, request: RecordedRequest, reason: str, seconds: float) -> None:
        self.told.append(f"{request.head.target.decode()} {reason} after {seconds:.0f} s")


@pytest.fixture
def made_records(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The lines of the access log, as log records."""
    caplog.set_level(logging.INFO, "trioserve.access")
    return caplog


class Bodies(Notes):
    """Remembers the sizes of request bodies."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[int] = []

    def answered(self, answered: Answered, seconds: float) -> None:
        self.taken.append(answered.request_body_bytes)


def test_nobody_and_one_cost_no_loop() -> None:
    notes = Notes()
    assert joined([]) is None
    assert joined([notes]) is notes


shop: ContextVar[str] = ContextVar("shop", default="-")


class NotesOfContext(Notes):
    """Remembers the application's context variable, too."""

    def answered(self, answered: Answered, seconds: float) -> None:
        self.told.append(f"answered {shop.get()}")

    def websocket_closed(self, websocket: ClosedWebSocket, seconds: float) -> None:
        self.told.append(f"closed {shop.get()}")

    def ended_early(self, request: RecordedRequest, reason: str, seconds: float) -> None:
        self.told.append(f"ended {shop.get()}")


@pytest.mark.parametrize("needs", [(True,), (True, False), (False, True)])
async def test_who_needs_the_context_is_told_in_it(needs: tuple[bool, ...]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        shop.set("north")
        if scope["type"] == "websocket":
            await echo(scope, receive, send)
        else:
            await anyio.sleep_forever()

    notes = [NotesOfContext(needs_context) for needs_context in needs]
    async with serving(app, recorders=notes, timeout_request=5) as site:
        client = await open_websocket(site)
        await client.close(1000)
        await client.receive_rest()
        await site.everything_after(get("/slow"))
    told = next(one.told for one in notes if one.needs_context)
    assert told == ["answered north", "closed north", "ended north", "answered north"]


@pytest.mark.parametrize("access_log", [False, True])
async def test_all_hear_the_same(access_log: bool, made_records: pytest.LogCaptureFixture) -> None:
    first, second = Notes(), Notes()
    async with serving(hello, recorders=[first, second], access_log=access_log) as site:
        await site.answer_to(get("/a"))
        await site.everything_after(b"no request\r\n\r\n")
    assert first.told == second.told == ["/a 200", "refused 400"]
    assert (len([record for record in made_records.records if record.name == "trioserve.access"]) == 2) == access_log


@pytest.mark.parametrize(("request_head", "taken"), [
    (get("/a"), 0),
    (post(b"body"), 4),
    (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 5),
])  # fmt: skip
async def test_what_is_taken_of_a_body(request_head: bytes, taken: int) -> None:
    bodies = Bodies()
    async with serving(post_echo, recorders=[bodies]) as site:
        await site.answer_to(request_head)
    assert bodies.taken == [taken]


async def test_what_is_taken_of_a_body_over_http2() -> None:
    bodies = Bodies()
    async with serving(post_echo, recorders=[bodies], http2=True) as site, http2_client(site) as client:
        await client.post(b"x" * 100_000)
        await client.get()
    assert bodies.taken == [100_000, 0]


async def test_what_nobody_takes_of_a_body_is_not_counted() -> None:
    bodies = Bodies()
    async with serving(hello, recorders=[bodies]) as site:
        await site.answer_to(post(b"body"))
    assert bodies.taken == [0]


async def test_a_websocket_is_told_at_both_ends() -> None:
    notes = Notes()
    async with serving(echo, recorders=[notes, Notes()]) as site:
        client = await open_websocket(site)
        await client.close(1001)
        await client.receive_rest()
        await settled()
    assert notes.told == ["/ 101", "/ closed 1001"]


async def test_a_request_that_is_ended_early() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    notes = Notes()
    async with serving(app, recorders=[notes], timeout_request=5) as site:
        await site.everything_after(get("/slow"))
    assert [told.partition(" after")[0] for told in notes.told] == ["/slow request-timeout", "/slow 504"]


async def test_work_after_the_response_that_is_ended_early() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send)
        await anyio.sleep_forever()

    notes = Notes()
    async with serving(app, recorders=[notes], timeout_graceful_shutdown=5) as site:
        await site.answer_to(get("/work"))
        await site.stop()
    assert [told.partition(" after")[0] for told in notes.told] == ["/work 200", "/work shutdown-deadline"]


async def test_a_recorder_that_raises_harms_neither_the_request_nor_those_before_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Notes):
        def answered(self, answered: Answered, seconds: float) -> None:
            raise ValueError("a bug")

    notes = Notes()
    async with serving(hello, recorders=[notes, Broken()]) as site:
        assert (await site.answer_to(get("/a"))).startswith(b"HTTP/1.1 200")
    assert notes.told == ["/a 200"]
    assert "Cannot record the end of GET /a" in caplog.text
