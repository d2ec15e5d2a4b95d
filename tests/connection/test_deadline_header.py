"""``--deadline-header``: until when a client waits, as a trusted proxy says it."""

import logging
from typing import Any

import anyio
import pytest

from tests.helpers.apps import reply
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import seconds_passed, serving
from tests.helpers.transcripts import body_of, get, status_of
from tests.helpers.ws_client import accept, handshake, open_websocket
from trioserve._connection import deadline_header
from trioserve._types import Receive, Scope, Send
from trioserve.extensions import request_of

TRUSTED: dict[str, Any] = {"deadline_header": "request-timeout", "forwarded_allow_ips": "*"}


async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep(1000)
    await reply(send, b"after all")


async def how_long(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, b"%.3f" % (request_of(scope).deadline - anyio.current_time()))


async def test_a_request_ends_when_its_client_does_not_wait_any_longer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve.access")
    async with serving(stuck, access_log=True, **TRUSTED) as site:
        with seconds_passed() as elapsed:
            assert status_of(await site.everything_after(get("/", "Request-Timeout: 2.5"))) == 504
    assert elapsed.seconds == 2.5
    assert caplog.messages[0].startswith("deadline: ended GET / after ")
    assert vars(caplog.records[1])["reason"] == "deadline"


async def test_over_http2() -> None:
    async with serving(stuck, http2=True, **TRUSTED) as site, http2_client(site) as client:
        with seconds_passed() as elapsed:
            assert (await client.get(fields=[(b"request-timeout", b"7")])).status == 504
    assert elapsed.seconds == 7


async def test_the_handshake_of_a_websocket() -> None:
    async with serving(stuck, **TRUSTED) as site:
        with seconds_passed() as elapsed:
            assert status_of(await site.everything_after(handshake("Request-Timeout: 3"))) == 504
    assert elapsed.seconds == 3


async def test_a_websocket_has_no_deadline_of_its_handshake() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        await anyio.sleep(60)
        await send({"type": "websocket.close", "code": 3000})

    async with serving(app, ws_ping_interval=None, **TRUSTED) as site:
        client = await open_websocket(site, "Request-Timeout: 3")
        assert await client.receive_close() == 3000


async def test_strangers_are_not_believed() -> None:
    async with serving(how_long, deadline_header="Request-Timeout", forwarded_allow_ips="192.0.2.7") as site:
        assert body_of(await site.answer_to(get("/", "Request-Timeout: 5"))) == b"inf"


async def test_nothing_is_read_without_the_option() -> None:
    async with serving(how_long, forwarded_allow_ips="*") as site:
        assert body_of(await site.answer_to(get("/", "Request-Timeout: 5"))) == b"inf"


@pytest.mark.parametrize(("given", "reason", "seconds"), [
    ("5", "deadline", 5), ("20", "request-timeout", 10), ("10", "request-timeout", 10)])
async def test_it_is_never_longer_than_the_request_timeout(
    given: str, reason: str, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(stuck, timeout_request=10, **TRUSTED) as site:
        with seconds_passed() as elapsed:
            assert status_of(await site.everything_after(get("/", f"Request-Timeout: {given}"))) == 504
    assert elapsed.seconds == seconds
    assert caplog.messages[0].startswith(f"{reason}: ")


@pytest.mark.parametrize("fields", [
    ["Request-Timeout: soon"], ["Request-Timeout: -1"], ["Request-Timeout: 5", "Request-Timeout: 6"],
    ["Request-Timeout:"]])
async def test_what_cannot_be_read_is_ignored(fields: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trioserve")
    async with serving(how_long, timeout_request=60, **TRUSTED) as site:
        assert body_of(await site.answer_to(get("/", *fields))) == b"60.000"
    assert [message for message in caplog.messages if message.startswith("request-timeout ignored, which says b'")]


async def test_a_moment_is_measured_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline_header, "time", lambda: 1_800_000_000.0)
    async with serving(how_long, **TRUSTED | {"deadline_header": "x-request-deadline"}) as site:
        assert body_of(await site.answer_to(get("/", "X-Request-Deadline: 1800000012.5"))) == b"12.500"
        assert body_of(await site.answer_to(get("/", "X-Request-Deadline: 2027-01-15T08:00:30Z"))) == b"30.000"


async def test_a_deadline_that_has_passed() -> None:
    async with serving(stuck, **TRUSTED) as site:
        with seconds_passed() as elapsed:
            assert status_of(await site.everything_after(get("/", "Request-Timeout: 0"))) == 504
    assert elapsed.seconds == 0


async def test_an_application_may_ask_for_more() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_of(scope).extend(10)
        await stuck(scope, receive, send)

    async with serving(app, **TRUSTED) as site:
        with seconds_passed() as elapsed:
            assert status_of(await site.everything_after(get("/", "Request-Timeout: 5"))) == 504
    assert elapsed.seconds == 15
