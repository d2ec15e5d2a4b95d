"""``trioserve.request``: a request's end, deadline and shield, in the hands of its application."""

import copy
import logging
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.helpers.apps import part, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import Site, seconds_passed, serving
from tests.helpers.transcripts import body_of, get, ok, receive_response, status_of
from tests.helpers.virtual_clock import settled
from tests.helpers.ws_client import accept, open_websocket
from trioserve._types import App, Receive, Scope, Send
from trioserve.extensions import RequestScope, request_of

Ask = Callable[[Site], Awaitable[tuple[int | None, bytes]]]


async def over_http1(site: Site) -> tuple[int | None, bytes]:
    answer = await site.everything_after(get())
    return (status_of(answer), body_of(answer)) if answer else (None, b"")


async def over_http2(site: Site) -> tuple[int | None, bytes]:
    async with http2_client(site) as client:
        answer = await client.get()
    return answer.status, answer.body


@pytest.fixture(params=[over_http1, over_http2])
def ask(request: pytest.FixtureRequest) -> Ask:
    ask: Ask = request.param
    return ask


@asynccontextmanager
async def serving_both(app: App, **options: Any) -> AsyncIterator[Site]:
    async with serving(app, http2=True, **options) as site:
        yield site


class Applied:
    """An application that does something with its request, and notes what has become of it."""

    def __init__(self, use: Callable[[RequestScope, Send], Awaitable[None]]) -> None:
        self.use = use
        self.end = "none"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.use(request_of(scope), send)
            self.end = "returned"
        except anyio.get_cancelled_exc_class():
            self.end = "cancelled"
            raise


def ended_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if ": ended " in record.getMessage()]


# -- cancel ----------------------------------------------------------------------------------------------------------


async def test_a_request_ends_itself_before_its_answer(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    async def use(request: RequestScope, send: Send) -> None:
        request.cancel("quota-exceeded")
        request.cancel("second thoughts")  # the first reason is kept
        await anyio.sleep_forever()

    app = Applied(use)
    async with serving_both(app) as site:
        assert (await ask(site))[0] == 503
    assert app.end == "cancelled"
    [line] = ended_lines(caplog)
    assert re.fullmatch(r"quota-exceeded: ended GET / after 0\.\d s, waiting at .*/test_request_scope\.py:\d+ .*", line)


async def test_a_response_that_has_begun_is_cut_short(ask: Ask) -> None:
    async def use(request: RequestScope, send: Send) -> None:
        await start(send)
        await part(send, b"begun")
        await anyio.sleep(5)
        request.cancel("no more rows")
        await anyio.sleep_forever()

    app = Applied(use)
    async with serving_both(app) as site:
        with seconds_passed() as elapsed:
            status, body = await ask(site)
    assert status == 200 and body.endswith(b"begun\r\n" if ask is over_http1 else b"begun")
    assert elapsed.seconds == 5
    assert app.end == "cancelled"


async def test_another_task_of_the_application_ends_the_request(ask: Ask) -> None:
    async def use(request: RequestScope, send: Send) -> None:
        async def watch() -> None:
            await anyio.sleep(30)
            request.cancel("watchdog")

        async with anyio.create_task_group() as children:
            children.start_soon(watch)
            await anyio.sleep_forever()

    app = Applied(use)
    async with serving_both(app) as site:
        assert (await ask(site))[0] == 503
    assert app.end == "cancelled"


async def test_the_access_log_names_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    async def use(request: RequestScope, send: Send) -> None:
        request.cancel("quota-exceeded")
        await anyio.sleep_forever()

    caplog.set_level(logging.INFO, "trioserve.access")
    async with serving(Applied(use), access_log=True) as site:
        await site.everything_after(get())
    [record] = [record for record in caplog.records if record.name == "trioserve.access"]
    assert (vars(record)["status"], vars(record)["reason"]) == (503, "quota-exceeded")


async def test_a_request_that_has_its_answer_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    requests: list[RequestScope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = request_of(scope)
        await reply(send, b"ok", headers=[(b"content-length", b"2")])
        request.cancel("too late")
        request.deadline = anyio.current_time() + 1
        assert request.deadline == math.inf
        requests.append(request)
        await anyio.sleep(5)

    async with serving(app) as site:
        client = site.connect()
        for _ in range(2):  # the first one's work after its response must not end the second one
            await client.send_all(get())
            assert await receive_response(client) == ok(b"ok")
            for request in requests:
                request.cancel("of another one")
        await anyio.sleep(10)
    assert not ended_lines(caplog)


@pytest.mark.parametrize("reason", ["", "two\nlines", "x" * 101, "\x1b[31m"])
async def test_reasons_are_fit_for_a_line_of_the_log(reason: str) -> None:
    async def use(request: RequestScope, send: Send) -> None:
        with pytest.raises(ValueError, match="a reason is 1 to 100 printable characters"):
            request.cancel(reason)
        await reply(send)

    app = Applied(use)
    async with serving(app) as site:
        assert status_of(await site.answer_to(get())) == 200


# -- the deadline ----------------------------------------------------------------------------------------------------


async def test_a_deadline_that_the_application_sets(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    async def use(request: RequestScope, send: Send) -> None:
        assert request.deadline == math.inf
        request.deadline = moment = anyio.current_time() + 7
        assert request.deadline == moment
        await anyio.sleep_forever()

    app = Applied(use)
    async with serving_both(app) as site:
        with seconds_passed() as elapsed:
            assert (await ask(site))[0] == 504
    assert elapsed.seconds == 7
    assert app.end == "cancelled"
    [line] = ended_lines(caplog)
    assert line.startswith("deadline: ended GET / after ")


async def test_the_request_timeout_is_a_deadline_that_can_be_moved(ask: Ask) -> None:
    async def use(request: RequestScope, send: Send) -> None:
        began = anyio.current_time()
        assert request.deadline == began + 60
        await anyio.sleep(50)
        request.extend(30)
        assert request.deadline == began + 90
        await anyio.sleep_forever()

    async with serving_both(Applied(use), timeout_request=60) as site:
        with seconds_passed() as elapsed:
            assert (await ask(site))[0] == 504
    assert elapsed.seconds == 90


async def test_an_earlier_deadline_than_the_request_timeout(ask: Ask) -> None:
    async def use(request: RequestScope, send: Send) -> None:
        request.deadline = anyio.current_time() + 2
        await anyio.sleep_forever()

    async with serving_both(Applied(use), timeout_request=60) as site:
        with seconds_passed() as elapsed:
            assert (await ask(site))[0] == 504
    assert elapsed.seconds == 2


async def test_a_deadline_that_is_taken_away(ask: Ask) -> None:
    async def use(request: RequestScope, send: Send) -> None:
        request.deadline = math.inf
        request.extend(5)  # there is nothing to extend
        assert request.deadline == math.inf
        await anyio.sleep(3600)
        await reply(send, b"late")

    async with serving_both(Applied(use), timeout_request=60, timeout_keep_alive=1) as site:
        assert (await ask(site))[0] == 200


async def test_the_request_timeout_begins_anew_in_the_place_of_a_deadline() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_of(scope).deadline = anyio.current_time() + 5
        scope["extensions"]["trioserve.timeout_request"]["restart"]()
        assert request_of(scope).deadline == anyio.current_time() + 60
        await anyio.sleep_forever()

    async with serving(app, timeout_request=60) as site:
        with seconds_passed() as elapsed:
            assert status_of(await site.everything_after(get())) == 504
    assert elapsed.seconds == 60


async def test_no_moments(ask: Ask) -> None:
    async def use(request: RequestScope, send: Send) -> None:
        with pytest.raises(ValueError, match="not NaN"):
            request.deadline = math.nan
        for seconds in (math.nan, -1):
            with pytest.raises(ValueError, match="not by"):
                request.extend(seconds)
        await reply(send, b"ok")

    async with serving_both(Applied(use), timeout_keep_alive=1) as site:
        assert (await ask(site))[0] == 200


# -- the shield ------------------------------------------------------------------------------------------------------


async def test_a_shielded_block_comes_to_its_end_when_the_request_is_cancelled(ask: Ask) -> None:
    ends: list[float] = []

    async def use(request: RequestScope, send: Send) -> None:
        request.deadline = anyio.current_time() + 5
        with request.shielded():
            await anyio.sleep(20)
            ends.append(anyio.current_time())
        await anyio.sleep_forever()

    app = Applied(use)
    async with serving_both(app) as site:
        with seconds_passed() as elapsed:
            began = anyio.current_time()
            assert (await ask(site))[0] == 504
    assert ends == [began + 20]
    assert elapsed.seconds == 20
    assert app.end == "cancelled"


async def test_a_shielded_tail_outlives_a_client_that_leaves(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    tail_ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with request_of(scope).shielded():
            await start(send)
            await part(send, b"begun")
            await anyio.sleep(30)
            tail_ended.set()
        await anyio.sleep_forever()

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        await client.aclose()
        await tail_ended.wait()
        await settled()
        assert site.connections == 0
    assert ended_lines(caplog)[0].startswith("client-disconnect: ended GET / after ")


async def test_a_shutdown_waits_for_a_shielded_tail() -> None:
    ends: list[float] = []

    async def use(request: RequestScope, send: Send) -> None:
        await reply(send)
        with request.shielded():
            await anyio.sleep(20)
            ends.append(anyio.current_time())

    async with serving(Applied(use), timeout_graceful_shutdown=30) as site:
        began = anyio.current_time()
        await site.answer_to(get())
    assert ends == [began + 20]


async def test_a_shield_is_lifted_at_the_deadline_of_the_shutdown(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    async def use(request: RequestScope, send: Send) -> None:
        await reply(send, b"ok")
        try:
            with request.shielded():
                await anyio.sleep(3600)
        finally:
            with request.shielded():  # it is too late for another one
                await anyio.sleep(3600)

    app = Applied(use)
    with seconds_passed() as elapsed:
        async with serving_both(app, timeout_graceful_shutdown=30, timeout_keep_alive=1) as site:
            await ask(site)
            began = anyio.current_time()
        assert anyio.current_time() - began <= 30
    assert elapsed.seconds < 60
    assert app.end == "cancelled"
    assert ended_lines(caplog)[0].startswith("shutdown-deadline: ")


async def test_an_inner_shield_holds_until_the_outer_one_is_lifted() -> None:
    ends: list[str] = []

    async def use(request: RequestScope, send: Send) -> None:
        request.cancel("test")
        with request.shielded():
            with request.shielded():
                await anyio.sleep(1)
            await anyio.sleep(1)
            ends.append("outer")
        await anyio.sleep_forever()

    async with serving(Applied(use)) as site:
        assert status_of(await site.everything_after(get())) == 503
    assert ends == ["outer"]


# -- WebSockets ------------------------------------------------------------------------------------------------------


async def test_a_websocket_ends_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def use(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(5)
        request_of(scope).cancel("logged-out")
        await anyio.sleep_forever()

    caplog.set_level(logging.INFO, "trioserve.access")
    async with serving(use, access_log=True) as site:
        client = await open_websocket(site)
        assert await client.receive_close() == 1001
        await client.stream.receive_rest()
        await settled()
        assert site.connections == 0
    assert ended_lines(caplog)[0].startswith("logged-out: ended GET / ")
    assert vars(caplog.records[-1])["reason"] == "logged-out"


async def test_the_deadline_of_a_websocket_is_another_one_than_that_of_its_handshake() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = request_of(scope)
        assert request.deadline == anyio.current_time() + 60
        await accept(receive, send)
        assert request.deadline == math.inf
        request.deadline = anyio.current_time() + 3600
        await receive()

    async with serving(app, timeout_request=60, ws_ping_interval=None) as site:
        with seconds_passed() as elapsed:
            client = await open_websocket(site)
            assert await client.receive_close() == 1001
    assert elapsed.seconds == 3600


async def test_a_websocket_that_has_ended_has_no_deadline(caplog: pytest.LogCaptureFixture) -> None:
    requests: list[RequestScope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        requests.append(request_of(scope))
        await accept(receive, send)
        requests[0].deadline = anyio.current_time() + 60

    async with serving(app) as site:
        client = await open_websocket(site)
        await client.say_goodbye()
        await settled()
        assert requests[0].deadline == math.inf
        requests[0].cancel("too late")
        await anyio.sleep(100)
    assert not ended_lines(caplog)


async def test_a_handshake_ends_itself() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_of(scope).cancel("quota-exceeded")
        await anyio.sleep_forever()

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get("/", "upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13",
                                  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="))
        assert status_of(await client.receive_rest()) == 503


# -- copies ----------------------------------------------------------------------------------------------------------


async def test_a_copy_of_the_scope_has_the_same_request() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        copied = copy.deepcopy(scope["extensions"])
        copied["trioserve.request"]["get"]().deadline = anyio.current_time() + 5
        assert request_of(scope).deadline == anyio.current_time() + 5
        await reply(send)

    async with serving(app) as site:
        assert status_of(await site.answer_to(get())) == 200
