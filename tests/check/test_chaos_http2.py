"""Chaos over HTTP/2: requests that begin with ``H2`` are tried as others are, and leave without their connection."""

import functools

import anyio
import pytest

from tests.check.zoo import load_zoo
from tests.helpers.apps import part, read_body, reply, start
from trioserve._trial import Answer, TrialRequest
from trioserve._types import Receive, Scope, Send
from trioserve.testing import chaos, open_test_server, raw_request
from trioserve.testing.asking import ask, leave
from trioserve.testing.chaos_rounds import explore

pytest.importorskip("h2")


async def test_each_version_gets_the_same_strikes() -> None:
    seen: set[tuple[str, str, bytes]] = set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        body = await read_body(receive)
        seen.add((scope["http_version"], scope["method"], body))
        await anyio.sleep(1)
        await start(send)
        await part(send, body)
        await anyio.sleep(1)
        await send({"type": "http.response.body"})

    plain = await chaos(app, ["POST / hello"])
    assert {version for version, _, _ in seen} == {"1.1"}
    seen.clear()
    assert (await chaos(app, ["H2 POST / hello"])).rounds == plain.rounds
    assert ("2", "POST", b"hello") in seen


@pytest.mark.parametrize(("name", "requests", "kind", "point"), [
    ("count_not_restored", ["H2 GET /"], "state", "cancel@0"),
    ("swallowed_cancellation", ["H2 GET /"], "swallowed", "cancel@0"),
    ("shared_state", ["H2 GET /?ann", "GET /?bob"], "overtaken", "pause@0"),
])
async def test_a_planted_fault_is_found(name: str, requests: list[str], kind: str, point: str) -> None:
    report = await explore(load_zoo(name).app, requests)
    finding = report.findings[0]
    assert (finding.kind, finding.request, finding.point) == (kind, requests[0], point)
    assert (await explore(load_zoo(name).app, requests, points=[point])).findings[0] == finding
    await chaos(load_zoo(name).mended, requests)


async def test_who_leaves_resets_the_stream_and_keeps_the_connection() -> None:
    told, began = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        began.set()
        await read_body(receive)
        assert (await receive())["type"] == "http.disconnect"
        told.set()

    async with open_test_server(app, lifespan="off", http2=True) as server:
        client = server.connect()
        answer, request = Answer(), TrialRequest.parse("H2 GET /")
        async with anyio.create_task_group() as asking:
            asking.start_soon(functools.partial(ask, client, request, answer))
            await began.wait()
            leave(client, request)
        await told.wait()
        assert answer.status == 0
        assert server.connections == 1


async def test_a_body_that_is_larger_than_the_windows() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await reply(send, await read_body(receive))

    body = b"x" * 500_000
    async with open_test_server(app, lifespan="off", http2=True) as server:
        answer = Answer()
        await ask(server.connect(), TrialRequest("POST", "/", body, over_http2=True), answer)
    assert (answer.status, answer.body, answer.complete) == (200, body, True)


async def test_a_response_that_is_cut_short() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await start(send)
        await part(send, b"some")
        raise ValueError

    async with open_test_server(app, lifespan="off", http2=True) as server:
        answer = Answer()
        await ask(server.connect(), TrialRequest.parse("H2 GET /"), answer)
    assert str(answer) == "200, cut short"


async def test_what_is_sent_without_waiting_arrives() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await reply(send, b"got")

    async with open_test_server(app, lifespan="off") as server:
        client = server.connect()
        client.send_nowait(raw_request(headers={"connection": "close"}))
        assert (await client.receive_rest()).endswith(b"got")
        await client.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            client.send_nowait(b"more")


@pytest.mark.parametrize(("text", "problem"), [
    ("H2 /", "is no request: METHOD PATH"), ("H2 WS /chat", "a WebSocket comes over HTTP/1.1, leave H2 out")])
async def test_what_is_written_wrong(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TrialRequest.parse(text)
