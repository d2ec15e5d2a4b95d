"""Calls of a WSGI application: side by side, never begun, without an end, and what is no call."""

import logging
import re
import threading
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, receive_response, status_of
from tests.helpers.ws_client import handshake
from tests.helpers.wsgi_apps import StartResponse, answering

pytestmark = pytest.mark.real_clock


async def test_calls_run_side_by_side_up_to_the_limit() -> None:
    barrier = threading.Barrier(2)

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        barrier.wait(30)            # passes when two are there
        start_response("200 OK", [("Content-Length", "0")])
        return []

    async with serving(app, wsgi_threads=2) as site:
        clients = [site.connect() for _ in range(4)]
        for client in clients:
            await client.send_all(get())
        for client in clients:
            assert await receive_response(client) == ok(b"")


async def test_a_call_whose_request_has_ended_before_its_turn_is_not_made() -> None:
    began, go_on = threading.Event(), threading.Event()
    paths: list[str] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        paths.append(environ["PATH_INFO"])
        began.set()
        assert go_on.wait(30)
        start_response("200 OK", [])
        return [b"ended"]

    async with serving(app, wsgi_threads=1) as site:
        first, second = site.connect(), site.connect()
        await first.send_all(get("/first"))
        await anyio.to_thread.run_sync(began.wait)
        await second.send_all(get("/second"))
        await anyio.sleep(0.05)
        site.server.force_shutdown()
        assert await second.receive_rest() == b""
    go_on.set()
    assert paths == ["/first"]


async def test_a_call_that_does_not_end_does_not_hold_up_the_server(caplog: pytest.LogCaptureFixture) -> None:
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        try:
            began.set()
            assert go_on.wait(30)
            start_response("200 OK", [])
            return [b"nobody gets it"]
        finally:
            ended.set()

    async with serving(app) as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.to_thread.run_sync(began.wait)
        site.server.force_shutdown()
        assert await client.receive_rest() == b""
    go_on.set()
    assert ended.wait(30)
    assert "shutdown-deadline: ended GET /" in caplog.text
    assert re.search(r"waiting at \S+wsgi_outbox\.py:\d+ \(Outbox\.wait_for_thread\)", caplog.text)


async def test_it_has_no_lifespan(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    async with serving(answering(lambda environ: b""), lifespan="auto") as site:
        await site.answer_to(get())
    assert "The application has no lifespan (NotImplementedError)" in caplog.messages


async def test_a_websocket_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(answering(lambda environ: b"never called")) as site:
        assert status_of(await site.everything_after(handshake())) == 403
    assert not caplog.records
