"""Whoever sends fast lets others run, and waits for who takes it slowly."""

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, post, receive_response, status_of
from tests.helpers.work_clock import WorkClock
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

pytestmark = pytest.mark.usefixtures("work_clock")

KIB = 1024


# -- fairness --------------------------------------------------------------------------------------------------------


class EndlessSender:
    """Sends ``body`` again and again without ever waiting of its own accord; gives up when nobody else gets a turn."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.sent = 0
        self.cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/hello":
            return await hello(scope, receive, send)
        try:
            await start(send)
            while self.sent < 100_000:
                self.sent += 1
                await part(send, self.body)
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("body", [b"x", b"x" * 100_000, b""], ids=["small", "large", "empty"])
async def test_an_endless_sender_lets_others_run_and_can_be_cancelled(
    body: bytes, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    WorkClock(monkeypatch, tick=0.00001)
    app = EndlessSender(body)
    async with serving(app) as site, anyio.create_task_group() as reading:
        client = site.connect()
        await client.send_all(get(method=method))
        reading.start_soon(client.receive_rest)
        assert await site.answer_to(get("/hello")) == ok(b"/hello")
        site.server.force_shutdown()
    assert app.cancelled
    assert app.sent < 2000  # in a few turns of a hundred looks at the clock


async def test_a_fast_upload_lets_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    WorkClock(monkeypatch, tick=0.00001)
    turns: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        turns.append(scope["path"])
        await reply(send)

    async with serving(app, capacity=100_000_000) as site:
        upload, other = site.connect(), site.connect()
        upload.send_nowait(post(b"", target="/upload", length=32 * 1024 * KIB))
        for _ in range(32):
            upload.send_nowait(b"x" * 1024 * KIB)
        other.send_nowait(get("/other"))
        await receive_response(upload)
    assert turns == ["/other", "/upload"]


# -- backpressure ----------------------------------------------------------------------------------------------------


async def test_a_slow_client_stops_the_application() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await start(send)
        for _ in range(100):
            await part(send, b"x" * 16 * KIB)
            sent += 16 * KIB
        await part(send, b"", more=False)

    async with serving(app, capacity=64 * KIB, timeout_write=None) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        assert 0 < sent <= 256 * KIB
        await anyio.sleep(3600)
        assert sent <= 256 * KIB
        assert len(await receive_response(client)) > 1600 * KIB
    assert sent == 1600 * KIB


async def test_a_slow_client_gets_all_of_the_last_response() -> None:  # RFC 9112 §9.6
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"x" * 50 * KIB, headers=[(b"connection", b"close")])

    async with serving(app, capacity=KIB) as site:
        client = site.connect()
        await client.send_all(get())
        received = 0
        while data := await client.receive_some(KIB):
            received += len(data)
            await anyio.sleep(1)
        assert not client.lost
    assert received > 50 * KIB


async def test_a_slow_client_stops_a_child_task_of_the_application() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def child() -> None:
            nonlocal sent
            for _ in range(100):
                await part(send, b"x" * 16 * KIB)
                sent += 16 * KIB
            await part(send, b"", more=False)

        await start(send)
        async with anyio.create_task_group() as children:
            children.start_soon(child)

    async with serving(app, capacity=64 * KIB) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        assert sent <= 256 * KIB
        assert len(await receive_response(client)) > 1600 * KIB


async def test_a_slow_application_stops_the_client() -> None:
    read_now = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_now.wait()
        await reply(send, b"%d" % len(await read_body(receive)))

    async with serving(app, capacity=64 * KIB) as site:
        client = site.connect()
        client.send_nowait(post(b"x" * 2000 * KIB))
        await settled()
        assert client.unsent > 1800 * KIB
        read_now.set()
        assert await receive_response(client) == ok(b"%d" % (2000 * KIB))


async def test_a_client_that_floods_a_waiting_application_is_stopped() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        with anyio.move_on_after(60):
            await receive()
        await reply(send)

    async with serving(app, capacity=64 * KIB) as site:
        client = site.connect()
        client.send_nowait(get() + b"x" * 2000 * KIB)
        await anyio.sleep(59)
        assert client.unsent > 1800 * KIB
        assert status_of(await receive_response(client)) == 200


async def test_a_pipelining_client_that_does_not_read_is_stopped() -> None:
    served = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal served
        served += 1
        await reply(send, b"x" * KIB)

    async with serving(app, capacity=64 * KIB) as site:
        client = site.connect()
        client.send_nowait(get() * 1000)
        await settled()
        assert served < 200
        for _ in range(1000):
            await receive_response(client)
