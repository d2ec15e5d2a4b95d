"""The server in memory, as somebody's tests see it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

from tests.helpers.apps import echo, hello, reply
from tests.helpers.certificates import client_context, identity
from trioserve import ConfigError, LifespanDied, StartupFailed
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import open_test_server, raw_request, seconds_passed


async def test_bytes_in_and_bytes_out() -> None:
    async with open_test_server(echo, lifespan="off") as server:
        client = server.connect()
        await client.send(raw_request("POST", "/", b"abc", headers={"connection": "close"}))
        assert (await client.receive_rest()).endswith(b"\r\n\r\nabc")


async def test_a_connection_is_a_byte_stream_of_anyios() -> None:
    async with open_test_server(hello) as server:
        client = server.connect(("192.0.2.7", 7))
        assert client.extra(anyio.abc.SocketAttribute.local_address) == ("192.0.2.7", 7)
        await client.send(raw_request(target="/there"))
        buffered = BufferedByteReceiveStream(client)
        assert (await buffered.receive_until(b"\r\n", 100)) == b"HTTP/1.1 200 OK"
        await client.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await client.receive()


async def test_the_lifespan_surrounds_the_block() -> None:
    events: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        events.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        events.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})

    async with open_test_server(app):
        assert events == ["lifespan.startup"]
    assert events == ["lifespan.startup", "lifespan.shutdown"]


async def test_what_the_server_logs() -> None:
    async with open_test_server(hello) as server:
        client = server.connect()
        await client.send(raw_request(target="/logged", headers={"connection": "close"}))
        await client.receive_rest()
        [line] = [record.getMessage() for record in server.log if record.name == "trioserve.access"]
        assert line.startswith('192.0.2.1:50000 - "GET /logged HTTP/1.1" 200 ')
        await server.shutdown()
        assert server.log[-1].getMessage() == "Stopped"


async def test_a_shutdown_waits_for_requests_and_then_nobody_can_connect() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(20)
        await reply(send, b"late")

    async with open_test_server(app, lifespan="off") as server:
        client = server.connect()
        await client.send(raw_request())
        with seconds_passed() as elapsed:
            await anyio.sleep(1)
            await server.shutdown()
        assert elapsed.seconds == 20
        assert (await client.receive_rest()).endswith(b"late")
        with pytest.raises(ConnectionRefusedError):
            server.connect()


async def test_connections_that_the_test_leaves_open_do_not_hold_up_the_end() -> None:
    left: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        left.append((await receive())["type"])

    with seconds_passed() as elapsed:
        async with open_test_server(app, lifespan="off") as server:
            await server.connect().send(raw_request())
            await anyio.sleep(1)
    assert left == ["http.disconnect"]
    assert elapsed.seconds == 1


async def test_an_error_of_the_block_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_test_server(hello):
            raise KeyError("mine")


async def test_an_outcome_of_pytest_is_raised_as_it_is() -> None:
    with pytest.raises(pytest.fail.Exception, match="mine"):
        async with open_test_server(hello):
            pytest.fail("mine")


async def test_a_cancelled_block_ends() -> None:
    with anyio.move_on_after(5) as scope:
        async with open_test_server(hello):
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_an_unknown_option() -> None:
    with pytest.raises(ConfigError, match="timeout_keepalive"):
        async with open_test_server(hello, timeout_keepalive=3):
            raise AssertionError


async def test_a_lifespan_that_fails() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(StartupFailed, match="no database"):
        async with open_test_server(app):
            raise AssertionError


async def dies_after_a_minute(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await anyio.sleep(60)
    raise OSError("the database has gone")


async def test_a_lifespan_that_dies() -> None:
    with pytest.raises(LifespanDied):
        async with open_test_server(dies_after_a_minute):
            await anyio.sleep(61)


async def test_a_lifespan_that_dies_is_the_cause_of_the_blocks_error() -> None:
    with pytest.raises(ConnectionRefusedError) as raised:
        async with open_test_server(dies_after_a_minute) as server:
            await anyio.sleep(61)
            server.connect()
    assert isinstance(raised.value.__cause__, LifespanDied)


async def test_two_servers_at_once() -> None:
    async with open_test_server(hello) as one, open_test_server(echo, lifespan="off") as other:
        for server, expected in ((one, b"/x"), (other, b"abc")):
            client = server.connect()
            await client.send(raw_request("POST", "/x", b"abc", headers={"connection": "close"}))
            assert (await client.receive_rest()).endswith(b"\r\n\r\n" + expected)


async def test_the_phases_of_a_shutdown() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await anyio.sleep(3)
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await anyio.sleep(20)
            await reply(send, b"late")

    async with open_test_server(app, shutdown_delay=5) as server:
        began = anyio.current_time()
        await server.connect().send(raw_request())
        server.request_shutdown(settle=0.5)
        for phase, seconds in (("DELAY", 0), ("DRAINING", 5), ("STOPPING", 20), ("STOPPED", 23)):
            await server.reached(phase)  # type: ignore[arg-type]
            assert anyio.current_time() - began == seconds
    assert server.phases == ["READY", "DELAY", "DRAINING", "STOPPING", "STOPPED"]


async def test_a_shutdown_without_clients_is_short() -> None:
    async with open_test_server(hello, lifespan="off") as server:
        await server.shutdown()
        await server.reached("DELAY")  # is over already
    assert server.phases == ["READY", "DRAINING", "STOPPING", "STOPPED"]


async def test_a_forced_shutdown_waits_for_nobody() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(20)

    async with open_test_server(app, lifespan="off") as server:
        await server.connect().send(raw_request())
        await anyio.sleep(1)
        with seconds_passed() as elapsed:
            server.force_shutdown()
            await server.reached("STOPPED")
        assert elapsed.seconds == 0
        assert any("shutdown-deadline" in record.getMessage() for record in server.log)


async def test_a_shutdown_within_a_shorter_time() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(20)

    async with open_test_server(app, lifespan="off") as server:
        await server.connect().send(raw_request())
        await anyio.sleep(1)
        with seconds_passed() as elapsed:
            await server.shutdown(within=10)
        assert 9 <= elapsed.seconds <= 10


async def test_tls_over_memory() -> None:
    async with open_test_server(hello, ssl_context=identity().context) as server:
        client = await TLSStream.wrap(
            server.connect(), server_side=False, hostname="localhost", ssl_context=client_context(),
            standard_compatible=False)
        await client.send(raw_request(target="/protected"))
        assert (await client.receive()).endswith(b"/protected")


@pytest.mark.real_clock
async def test_on_a_real_clock_abandoned_requests_do_not_hold_up_the_end() -> None:
    begun = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await anyio.sleep_forever()

    async with open_test_server(app, lifespan="off") as server:
        await server.connect().send(raw_request())
        await begun.wait()
    assert any("shutdown-deadline" in record.getMessage() for record in server.log)


async def test_an_application_that_has_to_be_opened() -> None:
    events: list[str] = []

    async def open_app() -> AsyncIterator[App]:
        events.append("opened")
        yield hello
        events.append("closed")

    async with open_test_server(open_app) as server:
        client = server.connect()
        await client.send(raw_request(target="/there"))
        assert (await client.receive()).endswith(b"/there")
        assert events == ["opened"]
    assert events == ["opened", "closed"]


async def test_the_tree_shows_a_request_and_where_it_waits() -> None:
    async def waits_for_a_supplier(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(60)

    async with open_test_server(waits_for_a_supplier, lifespan="off") as server:
        await server.connect().send(raw_request(target="/waiting"))
        await anyio.sleep(7)
        [request] = requests_in(server.tree()["root"])
        assert request["name"] == "GET /waiting"
        assert "waits_for_a_supplier" in json.dumps(server.tree(stack=request["id"]))


def requests_in(node: dict[str, Any]) -> list[dict[str, Any]]:
    below = [found for child in node.get("children", []) for found in requests_in(child)]
    return [node, *below] if node["kind"] == "request" else below
