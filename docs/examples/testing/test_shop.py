"""What happens to the shop when time passes, clients leave and the server stops."""

from functools import partial

import anyio
import pytest
from shop import app

from trioserve.testing import chaos, raw_request, seconds_passed

pytestmark = [pytest.mark.anyio, pytest.mark.trioserve(timeout_request=30)]


async def test_a_request(trioserve_client):
    answer = await trioserve_client.get("/price")
    assert answer.json() == {"cents": 250}


async def test_a_plain_function_runs_in_a_thread_and_takes_no_time(trioserve_client):
    with seconds_passed() as elapsed:
        assert (await trioserve_client.get("/report")).json() == {"report": "all is well"}
    assert elapsed.seconds == 0


async def test_a_supplier_who_takes_too_long(trioserve_client):
    with seconds_passed() as elapsed:
        answer = await trioserve_client.get("/price", params={"seconds": 3600}, timeout=None)
    assert answer.status_code == 504
    assert elapsed.seconds == 30


async def test_a_client_that_leaves_during_an_upload(trioserve_server):
    client = trioserve_server.connect()
    await client.send(raw_request("PUT", "/upload", b"x" * 100, length=1_000_000))
    await anyio.sleep(5)
    client.reset()
    await anyio.sleep(1)
    assert app.state.uploads == ["given up after 100 bytes"]


async def test_a_client_that_vanishes_during_an_upload(trioserve_server):
    client = trioserve_server.connect()
    await client.send(raw_request("PUT", "/upload", b"x" * 100, length=1_000_000))
    client.vanish()
    await anyio.sleep(3600)
    assert app.state.uploads == ["given up after 100 bytes"]


async def test_an_upload_that_is_slow(trioserve_server):
    client = trioserve_server.connect()
    await client.send_slowly(raw_request("PUT", "/upload", b"x" * 10_000), bytes_per_second=500)
    assert (await client.receive()).endswith(b'{"size":10000}')


async def test_an_upload_that_is_too_slow(trioserve_server):
    client = trioserve_server.connect()
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(partial(client.drip, raw_request("PUT", "/upload", b"x" * 10_000), every=0.1))
        assert (await client.receive()).startswith(b"HTTP/1.1 408 ")
        nursery.cancel_scope.cancel()


async def test_a_shutdown_with_an_open_stream(trioserve_server):
    client = trioserve_server.connect()
    await client.send(raw_request(target="/events"))
    assert b"data: 0" in await client.receive()
    trioserve_server.request_shutdown()
    with seconds_passed() as elapsed:
        await client.receive_rest()
        await client.aclose()
        await trioserve_server.reached("STOPPED")
    assert elapsed.seconds < 1
    assert app.state.log == ["opened", "stream ended", "closed"]


async def test_a_shutdown_waits_for_an_answer(trioserve_server, trioserve_client):
    prices = []

    async def ask():
        prices.append((await trioserve_client.get("/price", params={"seconds": 20}, timeout=None)).json())

    async with anyio.create_task_group() as nursery:
        nursery.start_soon(ask)
        await anyio.sleep(1)
        trioserve_server.request_shutdown()
        await trioserve_server.reached("DRAINING")
        assert prices == []
    assert prices == [{"cents": 250}]


async def test_a_websocket(trioserve_server):
    async with trioserve_server.websocket("/chat") as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "you said hello"


async def test_whatever_is_cancelled_whenever():
    await chaos(app, ["GET /price?seconds=1", "PUT /upload hats"])
